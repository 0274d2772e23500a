use crate::{loads::*, subject::Server};
use postgres_cluster::Cluster;
use replication::{arrow::array::*, destination::Destination, stream::*};
use std::sync::Arc;
use std::time::Instant;

fn cpu(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let f: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}

#[tokio::test]
#[ignore]
async fn speed() {
    let server = Server::start_with(
        Cluster::options().setting("shared_buffers", "512MB").setting("max_wal_size", "4GB"),
    );
    let postgres = server.postgres();
    let claim = postgres.claim(&request("run")).await.unwrap();
    let mut columns = vec![
        Column::new("id", ColumnType::Text),
        Column::new("modified", ColumnType::Timestamp),
        Column::new("deleted", ColumnType::Boolean),
    ];
    for i in 0..8 {
        columns.push(Column::new(format!("n{i}"), ColumnType::Number));
    }
    for i in 0..30 {
        columns.push(Column::new(format!("s{i}"), ColumnType::Text));
    }
    columns.push(Column::new("listIds", ColumnType::List(Box::new(ColumnType::Text))));
    columns.push(Column::new("SMSKeywordIDs", ColumnType::List(Box::new(ColumnType::Text))));
    let schema = Arc::new(StreamSchema {
        stream: "contact".into(),
        columns,
        key: vec!["id".into()],
        replication_key: Some("modified".into()),
        method: Method::Incremental,
        winner: WinnerRule::ReplicationKey,
    });
    let make = |from: usize, count: usize, round: i64| {
        let ids: Vec<String> = (from..from + count)
            .map(|i| format!("{:08x}-0000-4000-8000-{:012x}", (i * 2654435761) as u32, i))
            .collect();
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(ids)),
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(
                    (0..count).map(|i| 1_700_000_000_000_000 + i as i64 * 1_000_000 + round),
                )
                .with_timezone("UTC"),
            ),
            Arc::new(BooleanArray::from(vec![false; count])),
        ];
        for n in 0..8 {
            arrays.push(Arc::new(
                (0..count)
                    .map(|i| {
                        if (i + n) % 3 == 0 {
                            None
                        } else {
                            Some((i as i128 * 1_234_567_891) + round as i128)
                        }
                    })
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(38, 9)
                    .unwrap(),
            ));
        }
        for s in 0..30 {
            arrays.push(Arc::new(
                (0..count)
                    .map(|i| {
                        if (i + s) % 2 == 0 {
                            None
                        } else {
                            Some(format!("value {s} {i} {round} some text"))
                        }
                    })
                    .collect::<StringArray>(),
            ));
        }
        for l in 0..2 {
            let mut b = ListBuilder::new(StringBuilder::new());
            for i in 0..count {
                let n = if l == 0 { i % 4 } else { usize::from(i % 10 == 0) };
                for k in 0..n {
                    b.values().append_value(format!("list-0000-{k:08}-000000"));
                }
                b.append(true);
            }
            arrays.push(Arc::new(b.finish()));
        }
        stamped(&schema, arrays, (0..count as i64).map(|i| i + round * 1_000_000).collect())
    };
    let pid = |s: &Server| {
        s.query("select pid from pg_stat_activity where application_name = 'backstitch' order by backend_start desc limit 1")
    };
    commit(&postgres, &claim, &make(900_000, 1, 0)).await.unwrap();
    let pid = pid(&server);
    for (name, load) in [
        ("first 50k", make(0, 50_000, 1)),
        ("second 50k", make(50_000, 50_000, 1)),
        ("next 100k", make(100_000, 100_000, 1)),
        ("same 50k", make(0, 50_000, 1)),
        ("50k updates", make(0, 50_000, 2)),
        ("5k same 5k new", make(195_000, 10_000, 1)),
    ] {
        let (c0, s0, t) = (cpu("self"), cpu(&pid), Instant::now());
        let outcome = commit(&postgres, &claim, &load).await.unwrap();
        eprintln!(
            "{name}: wall {:?} client {:.2} server {:.2} {outcome:?}",
            t.elapsed(),
            cpu("self") - c0,
            cpu(&pid) - s0
        );
    }
    std::fs::write("/tmp/pglog.txt", server.cluster.log()).unwrap();
}
