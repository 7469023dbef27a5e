//! The API's description (OpenAPI 3.1), made from the route table and the handlers' own types.

use axum::Router;
use axum::http::Method;
use axum::routing::MethodRouter;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, Http as HttpScheme, HttpAuthScheme, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, Content, InfoBuilder, License, OpenApi, OpenApiBuilder, PathItem, RefOr, Required,
    server::ServerBuilder, tag::TagBuilder,
};
use utoipa::{IntoResponses, PartialSchema, ToSchema};
use utoipa_axum::router::UtoipaMethodRouter;

use super::auth::COOKIE;
use super::failures::{Failed, Forbidden, InvalidRequest, TooLarge, Unauthenticated, failures};
use super::render::speaks_words;
use super::state::Http;
use super::{examples, payloads, plain};
use crate::domain::access::needed;
use crate::views::Problem;

const ABOUT: &str = "\
Restock updates Docker Compose apps, proves that the new containers work, and takes the update back when they do not.

Where authentication is on, a session's cookie or a key is needed; each operation names the scope that a key must have. \
Failures are problem documents (RFC 9457) with a stable `code`. A query key that a route does not know is refused. \
`/api/images` and `/api/groups` are those of the docker-image-watcher API and answer failures as plain text, unless the \
request accepts `application/json`; `/api/docker/…` has Portainer's shape.

Every answer has the header `X-Request-Id`: the request's own where that has at most 64 letters, digits, `-`, `_` and `.`, \
else a new one. Problem documents, the job that a request started, and every line that either logs have it as `request_id`.

Streams (`text/event-stream`) consist of events whose data is JSON: `x-payloads` of the schema `ServerEvent` names the \
shape of each.

Docker's image routes (`/[v1.xx/]images/…`, `/_ping`, `/version`, `/info`) are passed on to the engine and belong to the \
Docker Engine API, which describes them; `--docker-api` says how much of it is open.";

const TAGS: [(&str, &str); 8] = [
    ("apps", "Compose projects, each a directory below the apps directory"),
    ("auto-update", "What happens by itself: passes, schedules, and what they leave out"),
    ("jobs", "What runs, and what has ended"),
    ("events", "What happens, as server-sent events"),
    ("images", "Running containers by image, in the shapes of the docker-image-watcher API"),
    ("portainer", "A container's freshness in Portainer's shape"),
    ("access", "Login, and who may ask"),
    ("service", "The service itself"),
];

/// The routes, each with its description.
pub struct Table {
    pub(super) routes: Router<Http>,
    pub(super) api: OpenApi,
    /// Each path as the router knows it, also of what is not told.
    pub(super) paths: Vec<&'static str>,
}

impl Table {
    /// No routes yet.
    pub fn new() -> Self {
        let (name, schema) = (Problem::name().into_owned(), Problem::schema());
        let mut more = Vec::new();
        Problem::schemas(&mut more);
        let components = ComponentsBuilder::new()
            .schema(name, schema)
            .schemas_from_iter(more)
            .responses_from_iter(failures())
            .security_scheme("cookie", SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE))))
            .security_scheme("bearer", SecurityScheme::Http(HttpScheme::new(HttpAuthScheme::Bearer)))
            .security_scheme("key", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key"))));
        let info = InfoBuilder::new()
            .title("Restock")
            .version(env!("CARGO_PKG_VERSION"))
            .description(Some(ABOUT))
            .license(Some(License::new(env!("CARGO_PKG_LICENSE"))));
        let tags = TAGS.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
        let here = ServerBuilder::new()
            .url("/")
            .description(Some("This service; http://127.0.0.1:8099 unless it listens elsewhere"));
        let api = OpenApiBuilder::new()
            .info(info.build())
            .servers(Some([here.build()]))
            .components(Some(components.build()))
            .tags(Some(tags));
        Self { routes: Router::new(), api: api.build(), paths: Vec::new() }
    }

    /// Handlers of one path. What they say about themselves, and what holds for every route, is told.
    pub fn at(self, path: &'static str, handlers: UtoipaMethodRouter<Http>) -> Self {
        self.told_as(path, path, handlers)
    }

    /// The same, where the router has another word for the path than the document.
    pub fn told_as(
        mut self,
        path: &'static str,
        told: &str,
        (schemas, paths, methods): UtoipaMethodRouter<Http>,
    ) -> Self {
        let mut item = PathItem::default();
        paths.paths.into_values().for_each(|handlers| item.merge_operations(handlers));
        let operations = [
            (Method::GET, &mut item.get),
            (Method::PUT, &mut item.put),
            (Method::POST, &mut item.post),
            (Method::DELETE, &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                complete(operation, &method, told);
            }
        }
        self.api.paths.paths.insert(told.to_owned(), item);
        self.api.components.get_or_insert_default().schemas.extend(schemas);
        self.paths.push(path);
        self.routes = self.routes.route(path, methods);
        self
    }

    /// The description, once every route is in it.
    pub fn finished(mut self) -> OpenApi {
        if let Some(components) = &mut self.api.components {
            payloads::describe(components);
        }
        plain::plain(&mut self.api);
        examples::add(&mut self.api);
        self.api
    }

    /// Another spelling of a path that is told already, or a page for people.
    pub fn untold(mut self, path: &'static str, methods: MethodRouter<Http>) -> Self {
        self.paths.push(path);
        self.routes = self.routes.route(path, methods);
        self
    }
}

/// Adds what can be said without asking the handler: the path's parameters, the rights, the failures of every route.
fn complete(operation: &mut Operation, method: &Method, path: &str) {
    let tag = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
    operation.operation_id = operation.operation_id.take().map(|name| format!("{tag}_{name}").replace('-', "_"));
    // The first sentence says what, the others how.
    let about = operation.summary.take().unwrap_or_default().replace('\n', " ");
    let (what, how) = about.split_once(". ").unwrap_or((about.trim_end_matches('.'), ""));
    operation.summary = Some(what.to_owned());
    let mut how = how.to_owned();
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    operation.parameters.get_or_insert_default().extend(names.map(|name| path_parameter(path, name).into()));
    let mut failures = InvalidRequest::responses();
    failures.extend(Forbidden::responses());
    failures.extend(Failed::responses());
    if let Some(body) = &mut operation.request_body {
        without_null(body);
        failures.extend(TooLarge::responses());
    }
    operation.security = Some(Vec::new());
    if let Some(scope) = needed(method.is_safe(), path) {
        failures.extend(Unauthenticated::responses());
        let schemes = ["cookie", "bearer", "key"];
        operation.security =
            Some(schemes.map(|scheme| SecurityRequirement::new::<_, [&str; 0], &str>(scheme, [])).into());
        how = format!("{how}\n\nScope: `{}`.", scope.word()).trim_start().to_owned();
    }
    operation.description = Some(how).filter(|how| !how.is_empty());
    for (status, failure) in failures {
        operation.responses.responses.entry(status).or_insert(failure);
    }
    if speaks_words(path) {
        for response in operation.responses.responses.values_mut() {
            if let RefOr::Ref(failure) = response {
                failure.ref_location.push_str("InWords");
            }
        }
    }
}

/// A body that may be missing is an `Option` to its handler; `null` is no word for that.
fn without_null(body: &mut RefOr<RequestBody>) {
    let RefOr::T(body) = body else { return };
    for content in body.content.values_mut() {
        if let RefOr::T(Content { schema: Some(schema), .. }) = content
            && let RefOr::T(Schema::OneOf(choices)) = schema
            && let Some(wanted) = choices.items.iter().find(|choice| matches!(choice, RefOr::Ref(_)))
        {
            *schema = wanted.clone();
        }
    }
}

fn path_parameter(path: &str, name: &str) -> Parameter {
    let about = match (name, path.split('/').nth(2)) {
        ("name", _) => "The app: the name of its directory.",
        ("image", _) => "The image, as `GET /api/images` tells it; slashes, port and tag may be encoded or not.",
        ("environment", _) => "`1` or `local`.",
        (_, Some("jobs")) => "The job.",
        _ => "The container: its ID, a prefix that only one has, or its name.",
    };
    let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Path).required(Required::True);
    parameter.description(Some(about)).schema(Some(text)).build()
}
