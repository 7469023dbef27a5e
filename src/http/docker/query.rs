//! The queries of Docker's image routes: what Restock refuses itself, because the engine would say it badly or not at all.

use std::fmt;

use serde_json::Value;

use super::escape::parse_query;
use super::refusal::{bad_reference, refusal};
use super::table::{Route, check_image_name};
use crate::domain::image::{ImageReference, ReferenceError};
use crate::error::{Error, Kind};
use crate::usecases::image_changes::NameScope;

/// A query, understood once: it is written anew for the engine.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query as it was sent.
    ///
    /// # Errors
    /// What the engine would refuse to read.
    pub fn of(raw: &str) -> Result<Self, Error> {
        parse_query(raw).map(Self)
    }

    /// A value as the engine takes it: the first, and no key is an empty value.
    fn value(&self, key: &str) -> &str {
        self.values(key).next().unwrap_or_default()
    }

    fn values(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Refuses what a route cannot mean. Gives the names that get another meaning; `name` is the one in the path.
    pub fn check(&self, route: Route, name: &str) -> Result<Option<NameScope>, Error> {
        if matches!(route, Route::List | Route::Search | Route::Prune) && !are_filters(self.value("filters")) {
            return Err(refusal("invalid filter", Kind::Invalid));
        }
        match route {
            Route::Create => return self.check_create(),
            Route::Tag => return Ok(Some(NameScope::One(target(self.value("repo"), self.value("tag"))?))),
            Route::Load => return Ok(Some(NameScope::Archive)),
            Route::Remove => return Ok(Some(NameScope::Removal(name.to_owned()))),
            Route::Prune => return Ok(Some(NameScope::Prune { named: self.prunes_named() })),
            Route::Push if !self.value("tag").is_empty() => drop(target("x", self.value("tag"))?),
            Route::Search if !is_limit(self.value("limit")) => {
                return Err(refusal("invalid limit specified", Kind::Invalid));
            }
            Route::SaveSeveral if self.values("names").all(str::is_empty) => return Err(blank()),
            Route::SaveSeveral => self.values("names").try_for_each(check_image_name)?,
            _ => {}
        }
        Ok(None)
    }

    /// Returns whether a prune is of all images that no container uses, and not of those without a name only.
    fn prunes_named(&self) -> bool {
        let dangling = serde_json::from_str::<Value>(self.value("filters")).unwrap_or_default()["dangling"].take();
        let says = |word: &str| matches!(word, "0" | "false");
        match dangling {
            Value::Array(words) => words.iter().filter_map(Value::as_str).any(says),
            Value::Object(words) => words.keys().any(|word| says(word)),
            _ => false,
        }
    }

    fn check_create(&self) -> Result<Option<NameScope>, Error> {
        // The engine takes `name:` for the name.
        let image = self.value("fromImage").trim_end_matches(':');
        match (image, self.value("fromSrc"), self.value("repo")) {
            ("", "", _) => Err(blank()),
            ("", _, "") => Ok(None),
            ("", _, repository) => Ok(Some(NameScope::One(target(repository, self.value("tag"))?))),
            (image, ..) => {
                let pulled = target(image, self.value("tag"))?;
                if pulled.repository() == "docker.io/library/scratch" {
                    return Err(refusal("'scratch' is a reserved name", Kind::Forbidden));
                }
                let all_tags = pulled.tag().is_none() && pulled.digest().is_none();
                Ok(Some(if all_tags { NameScope::Repository(pulled) } else { NameScope::One(pulled) }))
            }
        }
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish())
    }
}

/// What a repository and a tag, or a digest in its place, mean together. The tag wins over one that the first part has.
fn target(repository: &str, tag: &str) -> Result<ImageReference, Error> {
    let named = repository.parse::<ImageReference>().map_err(|error| bad_reference(&error))?;
    let sign = match tag {
        "" => return Ok(named),
        digest if digest.contains(':') => '@',
        _ => ':',
    };
    let whole = format!("{}{sign}{tag}", named.repository()).parse();
    whole.map_err(|_: ReferenceError| refusal("invalid tag format", Kind::Invalid))
}

/// Returns whether the engine can read a search's limit. It answers a negative one with 200 and an empty body, and
/// before 23.0 what is not a number with 500.
fn is_limit(text: &str) -> bool {
    text.is_empty() || text.parse().is_ok_and(|limit: i64| limit >= 0)
}

/// Returns whether the engine can read filters: an object of objects of flags, or of lists of words as API 1.21 had
/// them. Before 23.0 it answers anything else with 500.
fn are_filters(text: &str) -> bool {
    let flag = |value: &Value| matches!(value, Value::Bool(_) | Value::Null);
    let word = |value: &Value| matches!(value, Value::String(_) | Value::Null);
    let flags = |value: &Value| value.is_null() || value.as_object().is_some_and(|flags| flags.values().all(flag));
    let words = |value: &Value| value.is_null() || value.as_array().is_some_and(|words| words.iter().all(word));
    match serde_json::from_str(text) {
        Ok(Value::Object(filters)) => filters.values().all(flags) || filters.values().all(words),
        Ok(other) => other.is_null(),
        Err(_) => text.is_empty(),
    }
}

fn blank() -> Error {
    refusal("image name cannot be blank", Kind::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(route: Route, query: &str) -> Option<(u16, String)> {
        Query::of(query)
            .and_then(|query| query.check(route, "x").map(drop))
            .err()
            .map(|error| (error.kind.status(), error.message))
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (route, query, status, words) in [
            (Route::Create, "", 400, "image name cannot be blank"),
            (Route::Create, "fromImage=:", 400, "image name cannot be blank"),
            (Route::Create, "fromImage=UP", 400, "must be lowercase"),
            (Route::Create, "fromImage=..%2Fx", 400, "invalid reference format"),
            (Route::Create, "fromImage=a&tag=b+c", 400, "invalid tag format"),
            (Route::Create, "fromImage=a&tag=sha256:12", 400, "invalid tag format"),
            (Route::Create, "fromImage=scratch&tag=1", 403, "'scratch' is a reserved name"),
            (Route::Create, "fromImage=docker.io/library/scratch", 403, "'scratch' is a reserved name"),
            (Route::Create, "fromSrc=-&repo=..", 400, "invalid reference format"),
            (Route::Tag, "", 400, "invalid reference format"),
            (Route::Tag, "repo=a&tag=b/c", 400, "invalid tag format"),
            (Route::Tag, "repo=-f&tag=1", 400, "invalid reference format"),
            (Route::Push, "tag=b%20c", 400, "invalid tag format"),
            (Route::Search, "term=x&limit=-1", 400, "invalid limit specified"),
            (Route::Search, "term=x&limit=abc", 400, "invalid limit specified"),
            (Route::Search, "term=x&limit=99999999999999999999", 400, "invalid limit specified"),
            (Route::Search, "term=x&filters=x", 400, "invalid filter"),
            (Route::List, "filters=x", 400, "invalid filter"),
            (Route::List, "filters=[]", 400, "invalid filter"),
            (Route::List, r#"filters={"a":"b"}"#, 400, "invalid filter"),
            (Route::List, r#"filters={"a":["b"],"c":{"d":true}}"#, 400, "invalid filter"),
            (Route::Prune, r#"filters={"a":[1]}"#, 400, "invalid filter"),
            (Route::Prune, r#"filters={"dangling":["0"]"#, 400, "invalid filter"),
            (Route::Remove, "force=0;noprune=1", 400, "invalid semicolon separator"),
            (Route::Remove, "force=%zz", 400, "invalid URL escape"),
            (Route::Remove, "force=false%", 400, "invalid URL escape"),
            (Route::SaveSeveral, "", 400, "image name cannot be blank"),
            (Route::SaveSeveral, "names=a&names=../b", 400, "invalid reference format"),
        ] {
            let (is, said) = refusal(route, query).unwrap_or_else(|| panic!("{route:?} {query}"));
            assert!(is == status && said.contains(words), "{route:?} {query}: {is} {said}");
        }
    }

    #[test]
    fn what_the_engine_says_well_is_left_to_it() {
        let digest = format!("sha256:{}", "4f".repeat(32));
        for (route, query) in [
            (Route::Create, "fromImage=a".to_owned()),
            (Route::Create, format!("fromImage=host:5000/a/b&tag={digest}")),
            (Route::Create, "fromImage=a:1&tag=2&platform=linux/arm64".into()),
            (Route::Create, "fromSrc=-".into()),
            (Route::Create, "fromSrc=-&repo=a:1&message=x".into()),
            (Route::Tag, "repo=host:5000/a&tag=1".into()),
            (Route::Tag, "repo=a".into()),
            (Route::Push, "tag=".into()),
            (Route::Search, "term=x&limit=".into()),
            (Route::Search, "term=x&limit=101".into()),
            (Route::SaveSeveral, format!("names=a:1&names={digest}")),
            (Route::List, r#"filters={"a":["b"],"c":[null]}"#.into()),
            (Route::List, r#"filters={"a":{"b":true},"c":null}"#.into()),
            (Route::List, "filters=".into()),
            (Route::List, "filters=null".into()),
            (Route::Prune, "filters={}".into()),
            (Route::Remove, "force=0&noprune=maybe".into()),
        ] {
            assert_eq!(refusal(route, &query), None, "{route:?} {query}");
        }
    }

    #[test]
    fn a_prune_of_named_images_is_told_from_one_of_the_others() {
        let named = |query| Query::of(query).unwrap().prunes_named();
        for query in ["", "filters={}", r#"filters={"dangling":["true"]}"#, r#"filters={"label":["false"]}"#] {
            assert!(!named(query), "{query}");
        }
        for query in [r#"filters={"dangling":["false"]}"#, r#"filters={"dangling":{"0":true}}"#] {
            assert!(named(query), "{query}");
        }
    }

    #[test]
    fn a_query_means_the_same_when_it_is_written_anew() {
        let query = Query::of("filters=%7B%22a%22%3A%5B%22b%22%5D%7D&x%3By=1&platform=a/b+c").unwrap();
        assert_eq!(Query::of(&query.to_string()).unwrap().0, query.0);
        assert!(!query.to_string().contains(';'));
    }
}
