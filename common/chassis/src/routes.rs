//! Declaring routes: the only way to a router, so that no route lacks an access rule, a summary, metrics or limits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::http::{HeaderValue, Method, StatusCode};
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::access::{Access, Security};
use crate::cors;
use crate::errors::{ErrorForm, default_form};
use crate::guard::{Guarded, RouteContext};
use crate::openapi;
use crate::process::Process;
use crate::standing;

/// Makes a schema, and puts into the generator those that it refers to.
type MakeSchema = fn(&mut SchemaGenerator) -> Schema;
type Make<S> = Box<dyn FnOnce(Arc<RouteContext>) -> MethodRouter<S> + Send>;

/// A route as declared, before the router is built.
pub(crate) struct Declared<S> {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) access: Access,
    pub(crate) summary: String,
    body_limit: Option<usize>,
    pub(crate) errors: Option<ErrorForm>,
    pub(crate) takes: Option<MakeSchema>,
    /// Media types with the schemas of what has them; empty for no body, `None` if nothing is said.
    pub(crate) gives: Option<Vec<(&'static str, MakeSchema)>>,
    trailing_slash: bool,
    make: Make<S>,
}

/// Routes of a service, each with who may call it and what it does.
///
/// ```
/// # use fogflow_chassis::{Access, Process, Routes, Security};
/// let process = Process::new("example");
/// let router = Routes::new("Example")
///     .get("/greeting/{name}", Access::Anyone, "Greets by name", || async { "hello" })
///     .build((), &process, &Security::with_token("secret"));
/// # let _: axum::Router = router;
/// ```
pub struct Routes<S> {
    title: String,
    declared: Vec<Declared<S>>,
}

const DEFAULT_BODY_LIMIT: usize = 1024 * 1024;

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// No routes yet. The title is that of the OpenAPI document.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Routes { title: title.to_owned(), declared: Vec::new() }
    }

    /// A `GET` route, which answers `HEAD` as well.
    #[must_use]
    pub fn get<H, T>(self, path: &str, access: Access, summary: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.add(Method::GET, MethodFilter::GET, path, access, summary, handler)
    }

    /// A `POST` route.
    #[must_use]
    pub fn post<H, T>(self, path: &str, access: Access, summary: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.add(Method::POST, MethodFilter::POST, path, access, summary, handler)
    }

    /// A `PUT` route.
    #[must_use]
    pub fn put<H, T>(self, path: &str, access: Access, summary: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.add(Method::PUT, MethodFilter::PUT, path, access, summary, handler)
    }

    /// A `PATCH` route.
    #[must_use]
    pub fn patch<H, T>(self, path: &str, access: Access, summary: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.add(Method::PATCH, MethodFilter::PATCH, path, access, summary, handler)
    }

    /// A `DELETE` route.
    #[must_use]
    pub fn delete<H, T>(self, path: &str, access: Access, summary: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        self.add(Method::DELETE, MethodFilter::DELETE, path, access, summary, handler)
    }

    /// The form of the JSON body that the route declared last takes, for its OpenAPI document. A route without it takes none.
    #[must_use]
    pub fn takes<T: JsonSchema>(mut self) -> Self {
        if let Some(route) = self.declared.last_mut() {
            route.takes = Some(SchemaGenerator::subschema_for::<T>);
        }
        self
    }

    /// The form of the JSON that the route declared last answers when all is well.
    #[must_use]
    pub fn gives<T: JsonSchema>(self) -> Self {
        self.gives_as::<T>("application/json")
    }

    /// The form and the media type of what the route declared last answers when all is well. A route may have several.
    #[must_use]
    pub fn gives_as<T: JsonSchema>(mut self, media: &'static str) -> Self {
        if let Some(route) = self.declared.last_mut() {
            route.gives.get_or_insert_default().push((media, SchemaGenerator::subschema_for::<T>));
        }
        self
    }

    /// The route declared last answers without a body when all is well.
    #[must_use]
    pub fn gives_nothing(mut self) -> Self {
        if let Some(route) = self.declared.last_mut() {
            route.gives.get_or_insert_default();
        }
        self
    }

    /// The largest body of the routes declared so far that have no limit yet (default 1 MiB); more is answered with 413.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        for route in &mut self.declared {
            route.body_limit.get_or_insert(bytes);
        }
        self
    }

    /// How errors outside handlers look (403, 404, 405, 413, 415, 422, 500) for the routes declared so far that have no form
    /// yet, and for unknown paths with the same first segment.
    #[must_use]
    pub fn errors(mut self, form: ErrorForm) -> Self {
        for route in &mut self.declared {
            route.errors.get_or_insert(form);
        }
        self
    }

    /// The routes declared so far answer with a slash at the end of their paths as well.
    #[must_use]
    pub fn with_trailing_slash(mut self) -> Self {
        for route in &mut self.declared {
            route.trailing_slash = true;
        }
        self
    }

    /// Adds the routes of another declaration, with their limits and forms. The title stays.
    #[must_use]
    pub fn merge(mut self, other: Routes<S>) -> Self {
        self.declared.extend(other.declared);
        self
    }

    /// Every declared route: method, path pattern, access.
    pub fn declarations(&self) -> impl Iterator<Item = (&Method, &str, Access)> {
        self.declared.iter().map(|route| (&route.method, route.path.as_str(), route.access))
    }

    /// Declared routes with a method that carries a body of which nothing is said ([`takes`](Self::takes)).
    pub fn bodies_without_schema(&self) -> impl Iterator<Item = (&Method, &str)> {
        let carries = |method: &Method| matches!(method.as_str(), "POST" | "PUT" | "PATCH");
        self.declared
            .iter()
            .filter(move |route| carries(&route.method) && route.takes.is_none())
            .map(|route| (&route.method, route.path.as_str()))
    }

    /// Declared routes of whose answers nothing is said ([`gives`](Self::gives), [`gives_nothing`](Self::gives_nothing)).
    pub fn answers_without_schema(&self) -> impl Iterator<Item = (&Method, &str)> {
        self.declared.iter().filter(|route| route.gives.is_none()).map(|route| (&route.method, route.path.as_str()))
    }

    /// The router, with `/health`, `/ready`, `/metrics`, `/version`, `/openapi.json` (and the aliases `/healthz`, `/readyz`)
    /// unless the service declares them itself.
    pub fn build(self, state: S, process: &Process, security: &Security) -> Router {
        let Routes { title, declared } = standing::add(self, process);
        let document = openapi::document(&title, &declared);
        let fallbacks = fallback_forms(&declared);
        let with_slash: BTreeSet<String> =
            declared.iter().filter(|route| route.trailing_slash).map(|route| format!("{}/", route.path)).collect();
        let mut by_path: BTreeMap<String, (MethodRouter<S>, Vec<Method>, ErrorForm)> = BTreeMap::new();
        for route in declared {
            let errors = route.errors.unwrap_or(default_form);
            let context = Arc::new(RouteContext {
                service: process.name.trim_start_matches("fogflow-").to_owned(),
                path: route.path.clone(),
                access: route.access,
                body_limit: route.body_limit.unwrap_or(DEFAULT_BODY_LIMIT),
                errors,
                security: security.clone(),
                metrics: process.http.route(route.method.as_str(), &route.path),
            });
            let made = (route.make)(context);
            let (router, methods, _) = by_path.entry(route.path).or_insert_with(|| (MethodRouter::new(), Vec::new(), errors));
            *router = std::mem::take(router).merge(made);
            methods.push(route.method);
        }
        let mut router = Router::new();
        let declared_paths: BTreeSet<String> = by_path.keys().cloned().collect();
        for (path, (methods_router, methods, errors)) in by_path {
            let allowed = allow_header(&methods);
            let methods_router =
                methods_router.options(move || async move { cors::preflight(&allowed) }).fallback(move |request: Request| async move {
                    errors(StatusCode::METHOD_NOT_ALLOWED, &format!("{} does not allow {}", request.uri().path(), request.method()))
                });
            let longer = format!("{path}/");
            if with_slash.contains(&longer) && !declared_paths.contains(&longer) {
                router = router.route(&longer, methods_router.clone());
            }
            router = router.route(&path, methods_router);
        }
        let unmatched = Arc::new(process.http.route("any", "unmatched"));
        router
            .route("/openapi.json", axum::routing::get(move || async move { standing::json(document) }))
            .fallback(move |request: Request| async move {
                let path = request.uri().path();
                let form = fallbacks.get(first_segment(path)).copied().unwrap_or(default_form);
                unmatched.observe(404, std::time::Duration::ZERO);
                form(StatusCode::NOT_FOUND, &format!("there is nothing at {path}"))
            })
            .with_state(state)
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.declared.iter().any(|route| route.path == path)
    }

    fn add<H, T>(mut self, method: Method, filter: MethodFilter, path: &str, access: Access, summary: &str, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
    {
        let make: Make<S> = Box::new(move |route| on(filter, Guarded { handler, route }));
        let (path, summary) = (path.to_owned(), summary.to_owned());
        self.declared.push(Declared {
            method,
            path,
            access,
            summary,
            body_limit: None,
            errors: None,
            takes: None,
            gives: None,
            trailing_slash: false,
            make,
        });
        self
    }
}

fn allow_header(methods: &[Method]) -> HeaderValue {
    let mut names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    if names.contains(&"GET") {
        names.push("HEAD");
    }
    names.push("OPTIONS");
    HeaderValue::from_str(&names.join(",")).unwrap_or(HeaderValue::from_static("OPTIONS"))
}

/// An unknown path is answered in the form of the face that its first segment belongs to.
fn fallback_forms<S>(declared: &[Declared<S>]) -> BTreeMap<String, ErrorForm> {
    declared.iter().filter_map(|route| route.errors.map(|form| (first_segment(&route.path).to_owned(), form))).collect()
}

fn first_segment(path: &str) -> &str {
    path.trim_start_matches('/').split('/').next().unwrap_or_default()
}
