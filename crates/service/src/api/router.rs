//! The router, made from the table of routes.

use axum::{Router, extract::DefaultBodyLimit, middleware::from_fn_with_state};

use super::{
    Shared,
    guard::{Gate, envelope, guard},
    problem::{Kind, Problem},
    routes::routes,
};

/// All routes, each behind its guard.
pub(super) fn assembled(api: &Shared) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let gate = Gate { api: Shared::clone(api), facts: route.facts };
        let guarded = route.handler.layer(from_fn_with_state(gate, guard));
        router = router.route(route.facts.path, guarded);
    }
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_so)
        .layer(DefaultBodyLimit::max(api.options.body_bytes))
        .layer(from_fn_with_state(Shared::clone(api), envelope))
        .with_state(Shared::clone(api))
}

async fn nothing_here() -> Problem {
    Problem::new(Kind::NotFound, "There is nothing at this address")
        .remedy("The reference under /api/reference lists all addresses")
}

async fn not_so() -> Problem {
    Problem::new(Kind::MethodNotAllowed, "This address doesn't take the method")
}
