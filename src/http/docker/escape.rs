//! Percent encoding and queries as the engine reads them (Go's `net/url`): what it refuses is refused here as well, since
//! a guess, written anew, would be an order to it.

use super::refusal::refusal;
use crate::error::{Error, Kind};

/// Decodes each `%XX` once.
///
/// # Errors
/// A `%` that two hexadecimal digits do not follow.
pub fn unescape(raw: &str) -> Result<Vec<u8>, Error> {
    let mut parts = raw.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let hex = part.get(..2).filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) else {
            let shown: String = part.chars().take(2).collect();
            return Err(refusal(format!("invalid URL escape \"%{shown}\""), Kind::Invalid));
        };
        decoded.push(byte);
        decoded.extend_from_slice(&part.as_bytes()[2..]);
    }
    Ok(decoded)
}

/// The keys and values of a query, in their order. Bytes that are not UTF-8 are replaced, as the engine's own JSON does.
///
/// # Errors
/// A bad escape, or a semicolon: the engine takes neither for a separator nor for a part of a value.
pub fn parse_query(raw: &str) -> Result<Vec<(String, String)>, Error> {
    let text = |raw: &str| unescape(&raw.replace('+', " ")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        if pair.contains(';') {
            return Err(refusal("invalid semicolon separator in query", Kind::Invalid));
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Ok((text(key)?, text(value)?))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_as_go_reads_them() {
        let read = |raw| parse_query(raw).map_err(|error| error.message);
        let pairs = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(read("a=1&&b&c=&a=2"), Ok(pairs(&[("a", "1"), ("b", ""), ("c", ""), ("a", "2")])));
        assert_eq!(read("a+b=c+d%2B%26%3D%3b"), Ok(pairs(&[("a b", "c d+&=;")])));
        assert_eq!(read("=x&a=b=c"), Ok(pairs(&[("", "x"), ("a", "b=c")])));
        assert_eq!(read("a=%C3%A4&b=%ff"), Ok(pairs(&[("a", "ä"), ("b", "\u{fffd}")])));
        for (raw, message) in [
            ("force=0;noprune=1", "invalid semicolon separator in query"),
            ("a=1&;", "invalid semicolon separator in query"),
            ("force=%zz", "invalid URL escape \"%zz\""),
            ("force=false%", "invalid URL escape \"%\""),
            ("force=%4", "invalid URL escape \"%4\""),
            ("%=1", "invalid URL escape \"%\""),
            ("a=%ä", "invalid URL escape \"%ä\""),
        ] {
            assert_eq!(read(raw), Err(message.to_owned()), "{raw}");
        }
    }
}
