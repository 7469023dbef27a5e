//! How a registry asks for credentials: the `WWW-Authenticate` fields of a 401, parsed (RFC 9110, section 11.6.1).

/// What has to be shown to a host with each request, as far as the host has told. Worth remembering between requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Challenge {
    /// The user's name and password.
    Basic,
    /// A token, which the server at `realm` gives out. The realm is kept as it was written; it can be relative.
    Bearer { realm: String, service: Option<String> },
}

/// One answer's challenge, with what holds for that request only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub challenge: Challenge,
    /// What the token must allow, in the registry's opinion.
    pub scope: Option<String>,
    /// The token that was shown is valid but does not allow enough: a newer one of the same kind would not help.
    pub insufficient: bool,
}

/// Chooses among all challenges of an answer: a token where the registry offers one, because a registry that offers both
/// gives anonymous access by token only.
pub(super) fn choose<'a>(fields: impl Iterator<Item = &'a str>) -> Option<Asked> {
    let offers: Vec<Asked> = fields.flat_map(parse).filter_map(Offer::understood).collect();
    let bearer = offers.iter().position(|asked| matches!(asked.challenge, Challenge::Bearer { .. }));
    offers.into_iter().nth(bearer.unwrap_or(0))
}

/// A scheme and its parameters, both in lower case.
struct Offer {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl Offer {
    fn understood(self) -> Option<Asked> {
        let parameter = |name: &str| {
            let found = self.parameters.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        let challenge = match self.scheme.as_str() {
            "basic" => Challenge::Basic,
            "bearer" => Challenge::Bearer { realm: parameter("realm")?, service: parameter("service") },
            _ => return None,
        };
        let insufficient = parameter("error").is_some_and(|error| error == "insufficient_scope");
        Some(Asked { challenge, scope: parameter("scope"), insufficient })
    }
}

/// Splits one field. It can hold several challenges, separated by the same commas as the parameters of one; a name that is
/// not followed by `=` begins the next challenge. What is malformed is skipped.
fn parse(field: &str) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    let mut rest = field;
    loop {
        rest = rest.trim_start_matches(|c: char| !is_token(c));
        if rest.is_empty() {
            return offers;
        }
        let (name, after) = split_token(rest);
        match (after.trim_start().strip_prefix('='), offers.last_mut()) {
            (Some(value), Some(offer)) => {
                let (value, after) = split_value(value.trim_start());
                offer.parameters.push((name.to_lowercase(), value));
                rest = after;
            }
            (Some(value), None) => rest = value,
            (None, _) => {
                offers.push(Offer { scheme: name.to_lowercase(), parameters: Vec::new() });
                rest = after;
            }
        }
    }
}

/// A quoted string, or what reaches to the next separator: some registries do not quote URLs, as they should.
fn split_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([',', ' ', '\t']).unwrap_or(text.len()));
        return (value.to_owned(), rest);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

fn split_token(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.to_owned(), service: service.map(str::to_owned) }
    }

    #[test]
    fn challenges_of_real_registries_are_understood() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error="insufficient_scope""#;
        let table = [
            (hub, Some((bearer("https://auth.docker.io/token", Some("registry.docker.io")), true))),
            (r#"Basic realm="Registry Realm""#, Some((Challenge::Basic, false))),
            (r#"BASIC"#, Some((Challenge::Basic, false))),
            (
                r#"Bearer realm="https://europe-docker.pkg.dev/v2/token""#,
                Some((bearer("https://europe-docker.pkg.dev/v2/token", None), false)),
            ),
            (r#"bearer REALM=https://x/t , Service = "a\"b""#, Some((bearer("https://x/t", Some("a\"b")), false))),
            (
                r#"Basic realm="x, Bearer realm=y", charset="UTF-8", Bearer realm="/token",service=s"#,
                Some((bearer("/token", Some("s")), false)),
            ),
            (r#"Negotiate a87421000492aa874209af8bc028==, Basic realm="x""#, Some((Challenge::Basic, false))),
            (r#"Bearer service="no realm""#, None),
            (r#"Bearer realm="unterminated"#, Some((bearer("unterminated", None), false))),
            ("Digest realm=\"x\"", None),
            ("", None),
            (",,=\"", None),
        ];
        for (field, expected) in table {
            let asked = choose([field].into_iter()).map(|asked| (asked.challenge, asked.insufficient));
            assert_eq!(asked, expected, "{field}");
        }
    }

    #[test]
    fn a_token_is_preferred_whichever_field_offers_it() {
        let asked = choose([r#"Basic realm="x""#, r#"Bearer realm="https://t/""#].into_iter()).expect("understood");
        assert_eq!(asked.challenge, bearer("https://t/", None));
    }

    proptest! {
        #[test]
        fn no_field_makes_the_parser_panic(field in ".{0,80}") {
            choose([field.as_str(), &format!("Bearer realm={field}")].into_iter());
        }
    }
}
