//! What a simulated account looks like and how it is served.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use chrono::{DateTime, TimeZone, Utc};

use crate::clock::ClockMode;

/// The API token that the simulated server accepts unless another is given.
pub const DEFAULT_TOKEN: &str = "3D5A2C10-7B1E-4E0B-8F44-19D0A7C2B6EE";

/// Where the clock starts unless told otherwise: `2026-11-23T13:00:00Z`.
///
/// The thirty days before it hold the end of daylight saving time in the default zone of returned dates.
#[must_use]
pub fn default_now() -> DateTime<Utc> {
    Utc.timestamp_opt(1_795_438_800, 0).single().expect("a timestamp in UTC is never ambiguous")
}

/// What a token may do, as Bronto's bit mask: read 1, write 2, send 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permissions(u8);

impl Permissions {
    /// May call the read functions.
    pub const READ: Self = Self(1);
    /// May call the write functions.
    pub const WRITE: Self = Self(2);
    /// May send.
    pub const SEND: Self = Self(4);

    /// Both sets together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether reading is among them.
    #[must_use]
    pub const fn can_read(self) -> bool {
        self.0 & Self::READ.0 != 0
    }
}

/// An API token and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenGrant {
    /// The token's text, as sent in `login`.
    pub token: String,
    /// What sessions opened with it may do.
    pub permissions: Permissions,
}

impl TokenGrant {
    /// A token that may read, as Stitch's set-up page asks for.
    #[must_use]
    pub fn reading(token: impl Into<String>) -> Self {
        Self { token: token.into(), permissions: Permissions::READ }
    }

    /// A token that may write and send but not read: every read answers with fault 104.
    #[must_use]
    pub fn without_read(token: impl Into<String>) -> Self {
        Self { token: token.into(), permissions: Permissions::WRITE.and(Permissions::SEND) }
    }
}

/// Everything that determines a simulated account and its server.
///
/// The same configuration gives the same account, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimConfig {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The source of all chance.
    pub seed: u64,
    /// Where the clock starts.
    pub now: DateTime<Utc>,
    /// Whether the clock runs on from `now`.
    pub clock: ClockMode,
    /// How many days before `now` contacts' `modified` and unsubscribes' `created` are spread over;
    /// activities over the last 30 of them.
    pub days: u32,
    /// Number of contacts.
    pub contacts: u32,
    /// Number of lists.
    pub lists: u32,
    /// Number of custom fields of contacts. The first twelve have the names that accounts usually have.
    pub fields: u32,
    /// Number of unsubscribes.
    pub unsubscribes: u32,
    /// Number of inbound activities.
    pub inbound: u32,
    /// Number of outbound activities.
    pub outbound: u32,
    /// The tokens that may log in.
    pub tokens: Vec<TokenGrant>,
    /// Behaviours that differ from their defaults, as (name, value); see [`crate::behaviours`].
    pub behaviours: Vec<(String, String)>,
}

impl SimConfig {
    /// The first token that may read, for callers that only need one.
    #[must_use]
    pub fn token(&self) -> &str {
        self.tokens
            .iter()
            .find(|grant| grant.permissions.can_read())
            .map_or("", |grant| grant.token.as_str())
    }

    /// Adds one behaviour.
    #[must_use]
    pub fn with_behaviour(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.behaviours.push((name.into(), value.into()));
        self
    }
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            seed: 1,
            now: default_now(),
            clock: ClockMode::Running,
            days: 365,
            contacts: 1_000,
            lists: 25,
            fields: 12,
            unsubscribes: 150,
            inbound: 2_000,
            outbound: 2_000,
            tokens: vec![TokenGrant::reading(DEFAULT_TOKEN)],
            behaviours: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_now_is_the_documented_one() {
        assert_eq!(default_now().to_rfc3339(), "2026-11-23T13:00:00+00:00");
    }

    #[test]
    fn the_reading_token_is_found() {
        let config = SimConfig {
            tokens: vec![TokenGrant::without_read("w"), TokenGrant::reading("r")],
            ..SimConfig::default()
        };
        assert_eq!(config.token(), "r");
    }
}
