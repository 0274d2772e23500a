//! Lists are read as a whole. A read that comes back empty or halved by mistake never empties the table.

use bronto_sim::{ClockMode, RunningServer, Server, SimConfig, Table, TokenGrant};

use crate::{account::TOKEN, programs::Workplace, truth, warehouse::Warehouse};

/// The account, with this many lists. It is the same account otherwise.
fn account_with(lists: u32) -> RunningServer {
    let config = SimConfig {
        clock: ClockMode::Frozen,
        contacts: 40,
        lists,
        unsubscribes: 10,
        inbound: 40,
        outbound: 40,
        tokens: vec![TokenGrant::reading(TOKEN)],
        ..SimConfig::default()
    };
    Server::start_blocking(&config).unwrap()
}

/// Sends the integration of a workplace to another server.
fn redirect(workplace: &Workplace, from: &RunningServer, to: &RunningServer) {
    let path = workplace.path().join("backstitch.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&from.endpoint(), &to.endpoint())).unwrap();
}

#[test]
fn a_read_without_lists_or_with_half_of_them_keeps_the_table() {
    for warehouse in [Warehouse::duckdb(), Warehouse::postgres()] {
        let whole = account_with(12);
        let workplace = Workplace::new(&whole, &warehouse, "");
        workplace.run(&["run"]).expect(0);
        for lists in [0, 1, 5] {
            let less = account_with(lists);
            redirect(&workplace, &whole, &less);
            let ended = workplace.run(&["run"]).expect(4);
            assert!(ended.failure().contains("`list`"), "{}", ended.stderr);
            assert!(ended.failure().contains("the old ones were kept"), "{}", ended.stderr);
            assert!(ended.failure().contains("--allow-empty"), "{}", ended.stderr);
            assert_eq!(warehouse.rows("list").len(), whole.truth(Table::List).len());
            redirect(&workplace, &less, &whole);
        }
        workplace.run(&["run"]).expect(0);
        truth::assert_equal(&whole, &warehouse);
        // Half of them are believed, and none if the operator says so.
        for (lists, arguments) in [(6, &["run"][..]), (0, &["run", "--allow-empty"][..])] {
            let less = account_with(lists);
            redirect(&workplace, &whole, &less);
            workplace.run(arguments).expect(0);
            assert_eq!(warehouse.rows("list").len(), lists as usize);
            redirect(&workplace, &less, &whole);
        }
    }
}
