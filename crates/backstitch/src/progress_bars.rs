//! Progress bars, one per table, while a run works and somebody watches.

use std::{collections::BTreeMap, io::IsTerminal, sync::Arc, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use replication::{
    progress::{ProgressBoard, StreamProgress},
    stream::StreamName,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::display;

/// How often the bars are drawn anew.
const INTERVAL: Duration = Duration::from_millis(100);
/// The length of a bar in steps.
const STEPS: u64 = 1000;

/// The place of the bars on the screen, if there is a screen and the user wants them.
pub(crate) fn screen(wanted: bool) -> Option<MultiProgress> {
    (wanted && std::io::stderr().is_terminal()).then(MultiProgress::new)
}

/// Bars that follow a run's progress.
#[derive(Debug)]
pub(crate) struct ProgressBars {
    done: CancellationToken,
    task: JoinHandle<()>,
}

impl ProgressBars {
    /// Follows `board` from now on.
    pub(crate) fn follow(screen: MultiProgress, board: Arc<ProgressBoard>) -> Self {
        let done = CancellationToken::new();
        let task = tokio::spawn(draw_until(done.clone(), screen, board));
        Self { done, task }
    }

    /// Takes the bars off the screen, and waits until they are gone.
    pub(crate) async fn finish(mut self) {
        self.done.cancel();
        if let Err(error) = (&mut self.task).await {
            tracing::debug!(error = %error, "The progress bars ended early");
        }
    }
}

impl Drop for ProgressBars {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn draw_until(done: CancellationToken, screen: MultiProgress, board: Arc<ProgressBoard>) {
    let mut bars: BTreeMap<StreamName, ProgressBar> = BTreeMap::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            () = done.cancelled() => break,
            _ = ticks.tick() => {}
        }
        for (stream, progress) in board.snapshot() {
            let bar = bars.entry(stream.clone()).or_insert_with(|| new_bar(&screen, &stream));
            draw(bar, &progress);
        }
    }
    bars.values().for_each(ProgressBar::finish_and_clear);
}

fn new_bar(screen: &MultiProgress, stream: &StreamName) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:<18} {bar:24.cyan/dim} {msg}")
        .expect("the template is fixed and valid")
        .progress_chars("━╸─");
    screen.add(ProgressBar::new(STEPS).with_style(style).with_prefix(stream.to_string()))
}

fn draw(bar: &ProgressBar, progress: &StreamProgress) {
    bar.set_position(position(progress));
    bar.set_message(message(progress));
}

/// How much of the bar is full. An unknown part shows as an empty bar until the stream is done.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a bar's length is only looked at"
)]
fn position(progress: &StreamProgress) -> u64 {
    let part = if progress.done { 1.0 } else { progress.fraction.unwrap_or(0.0).clamp(0.0, 1.0) };
    (part * STEPS as f64) as u64
}

fn message(progress: &StreamProgress) -> String {
    let mut message = format!(
        "{} read · {} loaded",
        display::count(progress.extracted),
        display::count(progress.loaded)
    );
    if progress.rejected > 0 {
        message.push_str(&format!(" · {} rejected", display::count(progress.rejected)));
    }
    if progress.retries > 0 {
        message.push_str(&format!(" · {} retries", display::count(progress.retries)));
    }
    if progress.done {
        return message;
    }
    if let Some(rate) = progress.rows_per_second.filter(|rate| *rate >= 1.0) {
        message.push_str(&format!(" · {}/s", display::count(whole(rate))));
    }
    if let Some(remaining) = progress.remaining {
        message.push_str(&format!(" · about {} left", about(remaining)));
    }
    if !progress.activity.is_empty() {
        message.push_str(&format!(" · {}", progress.activity));
    }
    message
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is only looked at, and never negative"
)]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

/// A time in its largest unit, rounded up.
fn about(time: Duration) -> String {
    match time.as_secs_f64().ceil() {
        seconds if seconds < 100.0 => format!("{seconds} s"),
        seconds if seconds < 6_000.0 => format!("{} min", (seconds / 60.0).ceil()),
        seconds => format!("{} h", (seconds / 3_600.0).ceil()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_their_largest_unit() {
        let texts = [0.2, 99.0, 100.0, 7_200.0].map(|time| about(Duration::from_secs_f64(time)));
        assert_eq!(texts, ["1 s", "99 s", "2 min", "2 h"]);
    }

    #[test]
    fn says_how_far_a_table_is() {
        let mut progress = StreamProgress {
            activity: "2026-01-01 to 2026-01-08".to_owned(),
            extracted: 12_345,
            loaded: 10_000,
            fraction: Some(0.25),
            ..StreamProgress::default()
        };
        assert_eq!(message(&progress), "12,345 read · 10,000 loaded · 2026-01-01 to 2026-01-08");
        assert_eq!(position(&progress), 250);
        progress.rows_per_second = Some(1_234.4);
        progress.remaining = Some(Duration::from_secs(150));
        assert_eq!(
            message(&progress),
            "12,345 read · 10,000 loaded · 1,234/s · about 3 min left · 2026-01-01 to 2026-01-08"
        );
        progress.done = true;
        progress.rejected = 3;
        assert_eq!(message(&progress), "12,345 read · 10,000 loaded · 3 rejected");
        assert_eq!(position(&progress), 1000);
    }
}
