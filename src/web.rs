//! Everything HTTP: routes, guards, pages and answers. Handlers read the request, make one call down,
//! and dress the answer.
pub(crate) mod dashboard;
