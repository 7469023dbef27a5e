//! What images say of themselves in labels: anybody can write anything there.

/// The label with the version of what is in an image; see the OCI image specification, "Annotations".
pub const VERSION: &str = "org.opencontainers.image.version";
/// The label with the place of its source.
pub const SOURCE: &str = "org.opencontainers.image.source";
/// The label with the place to read about it.
pub const URL: &str = "org.opencontainers.image.url";

/// The longest version that is shown, in characters.
const LONGEST_VERSION: usize = 128;
/// The longest address that is shown, in bytes.
const LONGEST_LINK: usize = 1024;

/// A version as it can be shown: without control characters, and cut. `None` where nothing is left.
pub fn version(text: &str) -> Option<String> {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_VERSION).collect();
    let shown = shown.trim();
    (!shown.is_empty()).then(|| shown.to_owned())
}

/// An address that can be a link: of the web, and of a length that people use. An address is never cut, because then it is
/// another one.
pub fn link(text: &str) -> Option<String> {
    let text = text.trim();
    let scheme = ["https://", "http://"].iter().find(|scheme| text.starts_with(**scheme))?;
    let clean = !text.contains(|c: char| c.is_control() || c.is_whitespace());
    (clean && text.len() > scheme.len() && text.len() <= LONGEST_LINK).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_versions_are_cleaned_and_cut() {
        assert_eq!(version(" 1.2.3\n").as_deref(), Some("1.2.3"));
        assert_eq!(version("\u{1b}[31m1.2").as_deref(), Some("[31m1.2"));
        assert_eq!(version("9".repeat(10_000).as_str()).map(|text| text.len()), Some(128));
        assert_eq!(version(" \u{7} "), None);
    }

    #[test]
    fn only_addresses_of_the_web_are_links() {
        assert_eq!(link("https://git.example/a").as_deref(), Some("https://git.example/a"));
        let long = format!("https://{}", "a".repeat(10_000));
        for text in ["javascript:alert(1)", "https://", "https://a b", "git@git.example:a", "https://a\u{7}", &long] {
            assert_eq!(link(text), None, "{text}");
        }
    }
}
