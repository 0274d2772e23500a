//! The service over HTTP: all that people and programs may do with it, under `/api/v1`.
//!
//! One table of routes (`routes`) says who may do what; the router, its checks and the OpenAPI document are made from it,
//! so that no route can be there without its access being stated. Each request goes through `guard`: who asks, whether
//! they may, whether it was asked before, and until when it has to be answered.
//!
//! Callers are programs with a token, or people with a session, whose cookie counts only in requests that come from the
//! service's own pages. Errors are problem details (RFC 9457).

mod access;
mod accounts;
mod addresses;
mod authentication;
mod body;
mod checks;
mod drafts;
mod follow;
mod guard;
mod idempotency;
mod integrations;
mod kept;
mod lifecycle;
mod loads;
mod logs;
mod metrics;
mod openapi;
mod operations;
mod page;
pub mod passwords;
mod problem;
mod rate;
mod reference;
mod replays;
mod rewinds;
mod route;
mod router;
mod routes;
mod runs;
mod schedules;
mod schema;
mod server;
mod sessions;
mod shares;
mod tasks;
mod usage;
mod view;
mod write_deadline;

use std::{fmt, sync::Arc, time::Duration};

use axum::Router;
use chrono::{DateTime, NaiveDate, SubsecRound, TimeDelta, Utc};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

pub use self::{
    access::Access,
    addresses::{Network, NoNetwork},
    openapi::document,
    rate::{Allowance, RateLimits},
    routes::{CHECK_DEADLINE, LOOK_DEADLINE, RouteAccess, route_table},
    server::{ServeOptions, serve},
};
use self::{
    metrics::Meters,
    problem::{Kind, Problem},
    rate::Rates,
    shares::Shares,
};
use crate::{
    host::Host,
    store::{SessionLimits, Store},
    worker::Clock,
};

/// What the API works with.
#[derive(Clone)]
pub struct ApiState {
    /// The control store.
    pub store: Arc<Store>,
    /// The program around the service.
    pub host: Arc<dyn Host>,
    /// What time it is.
    pub clock: Clock,
    /// Has the scheduler look at once, for something that was done by hand.
    pub wake: Arc<dyn Fn() + Send + Sync>,
    /// Is cancelled when the service ends: what follows a log ends with it.
    pub stop: CancellationToken,
    /// How it goes about it.
    pub options: ApiOptions,
}

/// How the API goes about it.
#[derive(Debug, Clone)]
pub struct ApiOptions {
    /// Whether it is reached by TLS, here or at a proxy: then cookies are sent by nothing else.
    pub is_secure: bool,
    /// Proxies that are believed about where a request comes from.
    pub trusted_proxies: Vec<Network>,
    /// When sessions end by themselves.
    pub sessions: SessionLimits,
    /// How much may be asked.
    pub rates: RateLimits,
    /// The largest body of a request, in bytes.
    pub body_bytes: usize,
    /// How long a request may take, but for those that say otherwise.
    pub deadline: Duration,
    /// How long answers to requests with an idempotency key are kept.
    pub key_age: TimeDelta,
    /// Rows that may be used in a billing period, if somebody watches that.
    pub row_budget: Option<u64>,
    /// A day, in UTC, with which a billing period begins; they are 30 days long. Usage is kept by days, so no period begins
    /// within one.
    pub billing_anchor: NaiveDate,
}

impl Default for ApiOptions {
    fn default() -> Self {
        Self {
            is_secure: false,
            trusted_proxies: Vec::new(),
            sessions: SessionLimits::default(),
            rates: RateLimits::default(),
            body_bytes: 256 << 10,
            deadline: Duration::from_secs(30),
            key_age: TimeDelta::hours(24),
            row_budget: None,
            billing_anchor: NaiveDate::default(),
        }
    }
}

/// What the API answers, for programs in Rust that ask it: the service writes these, and they read what it wrote.
pub mod shapes {
    pub use super::{
        accounts::{NewTokenView, TokenView, UserView},
        checks::{CheckView, StepView},
        kept::{RejectView, RejectedRowView},
        lifecycle::ResetView,
        loads::{LoadView, SchemaEventView, TableView, TablesView},
        logs::LineView,
        page::Page,
        problem::{Fault, ProblemView},
        replays::{ReplayBody, ReplayView},
        rewinds::{RewindBody, RewindView},
        runs::SlotView,
        schedules::{PreviewView, ScheduleBody},
        tasks::{AuditBody, BackfillBody, ReportView},
        usage::{BudgetView, DayView, PeriodView, RowsView, UsageView},
        view::{
            IntegrationView, LogSizeView, PausedView, ProgressView, RunErrorView, RunView,
            StatusView, TableProgressView,
        },
    };
}

/// Connection checks, and looks at destinations, that go on at once.
const CHECKS: usize = 4;
/// Logs that are followed at once, by all and by each user.
const FOLLOWERS: usize = 64;
const FOLLOWERS_OF_ONE: usize = 8;
/// Passwords that are looked at once: each takes 19 MiB.
const PASSWORDS: usize = 2;

/// What all handlers share.
pub(crate) struct Api {
    pub(crate) store: Arc<Store>,
    pub(crate) host: Arc<dyn Host>,
    clock: Clock,
    wake: Arc<dyn Fn() + Send + Sync>,
    pub(crate) stop: CancellationToken,
    pub(crate) options: ApiOptions,
    pub(crate) rates: Rates,
    pub(crate) meters: Meters,
    pub(crate) checks: Semaphore,
    pub(crate) followers: Arc<Semaphore>,
    pub(crate) followers_of_one: Shares,
    pub(crate) passwords: Semaphore,
}

/// The handlers' state.
pub(crate) type Shared = Arc<Api>;

impl Api {
    /// What time it is, to the millisecond, as the store keeps it.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        (self.clock)().trunc_subsecs(3)
    }

    /// Has the scheduler look at once.
    pub(crate) fn wake(&self) {
        (self.wake)();
    }

    /// Leave to connect to somebody's source or destination: only so many may at once.
    pub(crate) fn connecting(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.checks.try_acquire().map_err(|_| {
            let detail = "Too many connections are being tried at once";
            Problem::new(Kind::TooMany, detail).retry_after(5)
        })
    }
}

/// The routes of the service, to be served by [`serve`], alone or beside others.
pub fn router(state: ApiState) -> Router {
    let ApiState { store, host, clock, wake, stop, options } = state;
    let rates = Rates::new(options.rates);
    let api = Arc::new(Api {
        store,
        host,
        clock,
        wake,
        stop,
        options,
        rates,
        meters: Meters::default(),
        checks: Semaphore::new(CHECKS),
        followers: Arc::new(Semaphore::new(FOLLOWERS)),
        followers_of_one: Shares::new(FOLLOWERS_OF_ONE),
        passwords: Semaphore::new(PASSWORDS),
    });
    router::assembled(&api)
}

impl fmt::Debug for ApiState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ApiState").field("options", &self.options).finish_non_exhaustive()
    }
}
