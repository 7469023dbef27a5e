//! The failures that routes may answer with, as the API's description has them.

use std::collections::BTreeMap;

use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::views::Problem;

/// Failures that a route may answer with, by what they mean; each is one status.
macro_rules! failures {
    ($($name:ident $status:literal $about:literal;)*) => {
        $(
            #[doc = $about]
            pub struct $name;

            impl IntoResponses for $name {
                fn responses() -> BTreeMap<String, RefOr<Response>> {
                    BTreeMap::from([($status.to_owned(), Ref::from_response_name(stringify!($name)).into())])
                }
            }
        )*

        /// All of them, by name, as the routes refer to them.
        pub fn failures() -> Vec<(String, Response)> {
            let mut all = Vec::new();
            $(
                all.push((stringify!($name).to_owned(), failure($about).build()));
                let words = ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String)));
                all.push((concat!(stringify!($name), "InWords").to_owned(), failure($about).content("text/plain", words.build()).build()));
            )*
            all
        }
    };
}

fn failure(about: &str) -> ResponseBuilder {
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name(Problem::name()))).build();
    ResponseBuilder::new().description(about).content("application/problem+json", problem)
}

failures! {
    InvalidRequest "400" "The request says something that the route does not take.";
    Unauthenticated "401" "A session or a key is needed.";
    Forbidden "403" "The key has not the scope, the host's name is not known, or a page of another site asks.";
    NotFound "404" "There is no such thing.";
    Conflict "409" "It cannot be done as things are: busy, paused, or nothing to do it with. Nothing was touched.";
    TooLarge "413" "The body is too large.";
    BrokenApp "422" "The app's files are invalid.";
    TooMany "429" "Too many attempts; wait as long as `Retry-After` says.";
    Failed "500" "It was done and did not succeed: `outcome` and `services` tell how it ended; or a defect.";
    Upstream "502" "A registry refused or failed. Every container is untouched.";
    Unavailable "503" "The engine, Compose or a directory is not there; the detail says which.";
    TimedOut "504" "It took too long. Nothing was touched.";
}
