//! A small simulated account.

use bronto_sim::{ClockMode, Mutation, RunningServer, Server, SimConfig, TokenGrant};

/// The token, unlike anything else in any output.
pub(crate) const TOKEN: &str = "C0FFEE00-5EC2-4E70-ACC0-0B57ACB1E000";
/// A token that may not read.
pub(crate) const TOKEN_WITHOUT_READ: &str = "C0FFEE01-5EC2-4E70-ACC0-0B57ACB1E001";

/// Starts an account whose clock stands still unless a test moves it.
pub(crate) fn start() -> RunningServer {
    start_sized(400)
}

/// Starts an account with this many contacts.
pub(crate) fn start_sized(contacts: u32) -> RunningServer {
    let config = SimConfig {
        clock: ClockMode::Frozen,
        contacts,
        lists: 12,
        unsubscribes: contacts / 2,
        inbound: contacts * 2,
        outbound: contacts * 2,
        tokens: vec![TokenGrant::reading(TOKEN), TokenGrant::without_read(TOKEN_WITHOUT_READ)],
        ..SimConfig::default()
    };
    Server::start_blocking(&config).unwrap()
}

/// Lets an hour pass in which something happens to every table.
pub(crate) fn change(account: &RunningServer) {
    for (hour, contacts) in [(1, 60), (2, 25)] {
        let mutation = Mutation {
            contacts,
            activities: 80,
            unsubscribes: 20,
            lists: 3,
            advance_seconds: 1_200 * hour,
            ..Mutation::default()
        };
        account.mutate(&mutation);
    }
    account.advance_seconds(60);
}
