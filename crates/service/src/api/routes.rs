//! The table of routes: all that the service answers, and who may use it.

use std::time::Duration;

use super::{
    access::{ADMINISTER, Access, CHANGE, INSPECT, LOOK, OVERSEE, OWN},
    accounts, checks, follow, integrations, kept, lifecycle, loads, logs, operations, reference,
    replays, rewinds,
    route::{Method, Replay, Route},
    runs, schedules, sessions, tasks, usage,
};

/// How long a connection check may take as a request. Whoever does the check must end it before.
pub const CHECK_DEADLINE: Duration = Duration::from_secs(120);

/// How long a look at a destination may take as a request. Whoever looks must end it before.
pub const LOOK_DEADLINE: Duration = Duration::from_secs(40);

const SIGN_IN: &str = "Signing in";
const USERS: &str = "Users and tokens";
const INTEGRATIONS: &str = "Integrations";
const RUNS: &str = "Runs";
const LOGS: &str = "Extraction logs";
const LOADS: &str = "Loading reports";
const DESTINATIONS: &str = "Rejects and bookmarks";
const USAGE: &str = "Usage";
const OPERATIONS: &str = "Operations";

macro_rules! route {
    ($method:ident $path:literal, $access:expr, $handler:path) => {
        Route::new(Method::$method, $path, $access, $handler)
    };
}

/// A route and who may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteAccess {
    /// The method.
    pub method: &'static str,
    /// The path, with names in braces for what varies.
    pub path: &'static str,
    /// Who may use it.
    pub access: Access,
}

/// All routes and who may use them.
#[must_use]
pub fn route_table() -> Vec<RouteAccess> {
    let access = |route: Route| RouteAccess {
        method: route.facts.method.name(),
        path: route.facts.path,
        access: route.facts.access,
    };
    routes().into_iter().map(access).collect()
}

/// All routes.
pub(super) fn routes() -> Vec<Route> {
    let parts = [
        account_routes(),
        integration_routes(),
        run_routes(),
        figure_routes(),
        kept_routes(),
        operation_routes(),
    ];
    parts.into_iter().flatten().collect()
}

fn account_routes() -> Vec<Route> {
    vec![
        route!(Post "/api/v1/session", Access::Public, sessions::sign_in)
            .does(SIGN_IN, "Signs in with a name and a password, and sets the session's cookie")
            .body::<sessions::SignInBody>()
            .makes::<sessions::CallerView>(),
        route!(Get "/api/v1/session", LOOK, sessions::who)
            .does(SIGN_IN, "Tells who is signed in")
            .answers::<sessions::CallerView>(),
        route!(Delete "/api/v1/session", LOOK, sessions::sign_out).does(SIGN_IN, "Signs out"),
        route!(Put "/api/v1/session/password", OWN, sessions::change_password)
            .does(SIGN_IN, "Changes one's own password, and ends all one's sessions")
            .body::<sessions::PasswordBody>(),
        route!(Get "/api/v1/users", OVERSEE, accounts::users)
            .does(USERS, "Lists users")
            .lists::<accounts::UserView>(),
        route!(Post "/api/v1/users", ADMINISTER, accounts::create_user)
            .does(USERS, "Makes a user")
            .body::<accounts::NewUserBody>()
            .makes::<accounts::UserView>(),
        route!(Get "/api/v1/users/{user_id}", OVERSEE, accounts::user)
            .does(USERS, "Shows a user")
            .answers::<accounts::UserView>(),
        route!(Patch "/api/v1/users/{user_id}", ADMINISTER, accounts::edit_user)
            .does(USERS, "Gives a user another role or password")
            .body::<accounts::EditUserBody>()
            .answers::<accounts::UserView>(),
        route!(Delete "/api/v1/users/{user_id}", ADMINISTER, accounts::disable_user)
            .does(USERS, "Disables a user, with all tokens and sessions"),
        route!(Get "/api/v1/users/{user_id}/tokens", OVERSEE, accounts::tokens_of)
            .does(USERS, "Lists the tokens of a user")
            .lists::<accounts::TokenView>(),
        route!(Post "/api/v1/users/{user_id}/tokens", ADMINISTER, accounts::create_token_of)
            .does(USERS, "Makes a token for a user; it is shown this once")
            .body::<accounts::NewTokenBody>()
            .makes::<accounts::NewTokenView>()
            .replay(Replay::Refuse),
        route!(Get "/api/v1/tokens", LOOK, accounts::own_tokens)
            .does(USERS, "Lists one's own tokens")
            .lists::<accounts::TokenView>(),
        route!(Post "/api/v1/tokens", OWN, accounts::create_own_token)
            .does(USERS, "Makes a token for oneself; it is shown this once")
            .body::<accounts::NewTokenBody>()
            .makes::<accounts::NewTokenView>()
            .replay(Replay::Refuse),
        route!(Delete "/api/v1/tokens/{token_id}", OWN, accounts::revoke_token)
            .does(USERS, "Revokes a token at once: one's own, or as an administrator any"),
    ]
}

fn integration_routes() -> Vec<Route> {
    vec![
        route!(Get "/api/v1/integrations", LOOK, integrations::list)
            .does(INTEGRATIONS, "Lists integrations with their states, by name")
            .query::<integrations::ListQuery>()
            .lists::<super::view::IntegrationView>(),
        route!(Post "/api/v1/integrations", CHANGE, integrations::create)
            .does(INTEGRATIONS, "Makes an integration")
            .body::<integrations::NewIntegrationBody>()
            .makes::<super::view::IntegrationView>(),
        route!(Get "/api/v1/integrations/{integration_id}", LOOK, integrations::one)
            .does(INTEGRATIONS, "Shows an integration, also one that is deleted")
            .answers::<super::view::IntegrationView>(),
        route!(Patch "/api/v1/integrations/{integration_id}", CHANGE, integrations::edit)
            .does(INTEGRATIONS, "Edits an integration that is as it was read")
            .body::<integrations::EditBody>()
            .answers::<super::view::IntegrationView>()
            .versioned(),
        route!(Delete "/api/v1/integrations/{integration_id}", CHANGE, integrations::delete)
            .does(INTEGRATIONS, "Deletes an integration; its data stays in the destination"),
        route!(Post "/api/v1/integrations/{integration_id}/pause", CHANGE, lifecycle::pause)
            .does(INTEGRATIONS, "Pauses an integration: runs start only by hand")
            .answers::<super::view::IntegrationView>(),
        route!(Post "/api/v1/integrations/{integration_id}/resume", CHANGE, lifecycle::resume)
            .does(INTEGRATIONS, "Resumes an integration at its next slot")
            .answers::<super::view::IntegrationView>(),
        route!(Post "/api/v1/integrations/{integration_id}/reset", CHANGE, lifecycle::reset)
            .does(INTEGRATIONS, "Changes the start date, which reads everything anew: tells the consequences, and does it once they are confirmed")
            .body::<lifecycle::ResetBody>()
            .answers::<lifecycle::ResetView>(),
        route!(Post "/api/v1/integrations/{integration_id}/clone", CHANGE, lifecycle::clone)
            .does(INTEGRATIONS, "Makes a copy of an integration, which is paused; secrets are not copied")
            .body::<lifecycle::CloneBody>()
            .makes::<super::view::IntegrationView>(),
        route!(Post "/api/v1/integrations/{integration_id}/checks", CHANGE, checks::saved)
            .does(INTEGRATIONS, "Tries the source and the destination of an integration, or of an edit of it")
            .body::<checks::SavedCheckBody>()
            .answers::<checks::CheckView>()
            .within(CHECK_DEADLINE)
            .replay(Replay::Never),
        route!(Post "/api/v1/integration-checks", CHANGE, checks::unsaved)
            .does(INTEGRATIONS, "Tries a source and a destination before they are saved")
            .body::<integrations::NewIntegrationBody>()
            .answers::<checks::CheckView>()
            .within(CHECK_DEADLINE)
            .replay(Replay::Never),
        route!(Post "/api/v1/schedule-previews", LOOK, schedules::preview)
            .does(INTEGRATIONS, "Shows the next starts of a schedule")
            .body::<schedules::PreviewBody>()
            .answers::<schedules::PreviewView>()
            .replay(Replay::Never),
    ]
}

fn run_routes() -> Vec<Route> {
    vec![
        route!(Get "/api/v1/runs", LOOK, runs::list)
            .does(RUNS, "Lists runs of all integrations, the last first")
            .query::<runs::RunsQuery>()
            .lists::<super::view::RunView>(),
        route!(Get "/api/v1/integrations/{integration_id}/runs", LOOK, runs::of_integration)
            .does(RUNS, "Lists runs of an integration, the last first")
            .query::<runs::RunsQuery>()
            .lists::<super::view::RunView>(),
        route!(Post "/api/v1/integrations/{integration_id}/runs", CHANGE, lifecycle::run_now)
            .does(RUNS, "Starts a run, also of an integration that is paused and stays so")
            .makes::<super::view::RunView>(),
        route!(Post "/api/v1/integrations/{integration_id}/backfill", CHANGE, tasks::backfill)
            .does(RUNS, "Starts a run that reads a span again, or for the first time, beside what is new")
            .body::<tasks::BackfillBody>()
            .makes::<super::view::RunView>(),
        route!(Post "/api/v1/integrations/{integration_id}/audit", CHANGE, tasks::audit)
            .does(RUNS, "Starts a run that compares the account with the destination, and mends what differs if that is asked for")
            .body::<tasks::AuditBody>()
            .makes::<super::view::RunView>(),
        route!(Get "/api/v1/runs/{run_id}/report", LOOK, tasks::report)
            .does(RUNS, "Shows what an audit found, or what a replay or a rewind did")
            .answers::<tasks::ReportView>(),
        route!(Get "/api/v1/integrations/{integration_id}/slots", LOOK, runs::slots)
            .does(RUNS, "Lists what became of the slots of an integration, the last first")
            .query::<runs::PageQuery>()
            .lists::<runs::SlotView>(),
        route!(Get "/api/v1/runs/{run_id}", LOOK, runs::one)
            .does(RUNS, "Shows a run and how far it is")
            .answers::<super::view::RunView>(),
        route!(Post "/api/v1/runs/{run_id}/stop", CHANGE, runs::stop)
            .does(RUNS, "Asks a run to stop; what it has extracted is loaded")
            .answers::<super::view::RunView>(),
        route!(Get "/api/v1/runs/{run_id}/log", LOOK, logs::list)
            .does(LOGS, "Lists lines of a run's log, the first first")
            .query::<logs::LogQuery>()
            .lists::<logs::LineView>(),
        route!(Get "/api/v1/runs/{run_id}/log/follow", LOOK, follow::follow)
            .does(LOGS, "Follows a run's log until it ends, by server-sent events: `line` with a line, `end` with the run")
            .query::<follow::FollowQuery>()
            .sends("text/event-stream"),
        route!(Get "/api/v1/runs/{run_id}/log/download", LOOK, logs::download)
            .does(LOGS, "Sends a run's log as text, in Stitch's form")
            .sends("text/plain"),
    ]
}

fn figure_routes() -> Vec<Route> {
    vec![
        route!(Get "/api/v1/integrations/{integration_id}/tables", LOOK, loads::tables)
            .does(LOADS, "Shows what has been loaded into the tables of an integration")
            .answers::<loads::TablesView>(),
        route!(Get "/api/v1/integrations/{integration_id}/tables/{table}/loads", LOOK, loads::of_table)
            .does(LOADS, "Lists the loads of a table, the last first")
            .query::<loads::LoadsQuery>()
            .lists::<loads::LoadView>(),
        route!(Get "/api/v1/integrations/{integration_id}/schema-events", LOOK, loads::schema_events)
            .does(LOADS, "Lists how the tables of an integration changed, the last first")
            .query::<runs::PageQuery>()
            .lists::<loads::SchemaEventView>(),
        route!(Get "/api/v1/usage", LOOK, usage::usage)
            .does(USAGE, "Shows rows replicated, by integration, table and day")
            .query::<usage::UsageQuery>()
            .answers::<usage::UsageView>(),
    ]
}

fn kept_routes() -> Vec<Route> {
    vec![
        route!(Get "/api/v1/integrations/{integration_id}/reject-reasons", INSPECT, kept::reasons)
            .does(DESTINATIONS, "Lists why rows could not be loaded, by table and reason, the commonest first")
            .query::<kept::ReasonsQuery>()
            .lists::<crate::kept::RejectReason>()
            .within(LOOK_DEADLINE),
        route!(Get "/api/v1/integrations/{integration_id}/rejects", INSPECT, kept::rejects)
            .does(DESTINATIONS, "Lists rows that could not be loaded, in the order of their read, without what is in them: those that wait, those that were replayed, or all")
            .query::<kept::RejectsQuery>()
            .lists::<kept::RejectView>()
            .within(LOOK_DEADLINE),
        route!(Get "/api/v1/integrations/{integration_id}/rejects/{reject_id}", INSPECT, kept::reject)
            .does(DESTINATIONS, "Shows a row that could not be loaded, as it was received")
            .answers::<kept::RejectedRowView>()
            .within(LOOK_DEADLINE),
        route!(Post "/api/v1/integrations/{integration_id}/replay", CHANGE, replays::replay)
            .does(DESTINATIONS, "Loads rows again that could not be loaded: tells what that would do, and starts a run that does it once that is confirmed")
            .body::<replays::ReplayBody>()
            .answers::<replays::ReplayView>()
            .within(LOOK_DEADLINE),
        route!(Post "/api/v1/integrations/{integration_id}/rewind", CHANGE, rewinds::rewind)
            .does(DESTINATIONS, "Moves bookmarks: tells what that means, and once it is confirmed starts a run that moves them and reads from there")
            .body::<rewinds::RewindBody>()
            .answers::<rewinds::RewindView>()
            .within(LOOK_DEADLINE),
        route!(Get "/api/v1/integrations/{integration_id}/state", INSPECT, kept::state)
            .does(DESTINATIONS, "Shows how far each stream is, what of a backfill is left, and who holds the schema")
            .answers::<crate::kept::Bookmarks>()
            .within(LOOK_DEADLINE),
    ]
}

fn operation_routes() -> Vec<Route> {
    vec![
        route!(Get "/healthz", Access::Public, operations::health)
            .does(OPERATIONS, "Tells that the process lives")
            .answers::<operations::HealthView>(),
        route!(Get "/readyz", Access::Public, operations::ready)
            .does(OPERATIONS, "Tells that the service can use its store")
            .answers::<operations::HealthView>(),
        route!(Get "/metrics", LOOK, operations::metrics)
            .does(OPERATIONS, "Shows figures for Prometheus")
            .sends("text/plain"),
        route!(Get "/api/v1/openapi.json", Access::Public, operations::document)
            .does(OPERATIONS, "Shows this document")
            .sends("application/json"),
        route!(Get "/api/reference", Access::Public, reference::page)
            .does(OPERATIONS, "Shows this document as a page")
            .sends("text/html"),
        route!(Get "/api/reference.css", Access::Public, reference::style)
            .does(OPERATIONS, "Shows how that page looks")
            .sends("text/css"),
    ]
}
