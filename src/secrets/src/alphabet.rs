//! What may stand in a name or an address that becomes part of a request to a cloud. What none of theirs can be is refused
//! before anything is asked, so that it cannot climb out of its place in a URL.

use cardea_contract::secrets::TroubleKind;

use http::Uri;

use crate::store::StoreError;

/// Refuses `text`, unless all of it is of this alphabet and it is neither empty nor longer than `longest` bytes.
pub(crate) fn check(field: &str, text: &str, longest: usize, signs: &str) -> Result<(), StoreError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || signs.as_bytes().contains(&byte);
    if !text.is_empty() && text.len() <= longest && text.bytes().all(allowed) {
        return Ok(());
    }
    let signs = if signs.is_empty() { String::new() } else { format!(" and {signs}") };
    Err(refused(field, text, &format!("it is 1 to {longest} letters, digits{signs}")))
}

/// The host of a base URL, which has nothing behind its host and port.
pub(crate) fn host(field: &str, url: &str) -> Result<String, StoreError> {
    let refused = || refused(field, url, "it is the URL of a host and no more, https://HOST");
    let parsed: Uri = url.parse().map_err(|_| refused())?;
    let bare = matches!(parsed.scheme_str(), Some("https" | "http"))
        && ["", "/"].contains(&parsed.path())
        && parsed.query().is_none()
        && parsed.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    parsed.host().filter(|_| bare).map(str::to_owned).ok_or_else(refused)
}

/// That `text` cannot be what `field` stands for.
pub(crate) fn refused(field: &str, text: &str, rule: &str) -> StoreError {
    StoreError::new(TroubleKind::NotFound, format!("{field} cannot be {text:?}: {rule}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_climbs_or_injects_is_refused_by_the_name_of_its_field() {
        check("secret", "app-token_1", 255, "-_").unwrap();
        for text in ["", "../other", "a/b", "a?x=y", "a#b", "a b", "a\r\nb", "a%2e", "ä", "app.token"] {
            let refused = check("secret", text, 255, "-_").unwrap_err();
            assert_eq!(refused.kind, TroubleKind::NotFound, "{text:?}");
            assert!(refused.message.starts_with("secret cannot be "), "{}", refused.message);
            assert!(refused.message.ends_with("letters, digits and -_"), "{}", refused.message);
        }
        check("secret", "abc", 3, "").unwrap();
        check("secret", "abcd", 3, "").unwrap_err();
    }

    #[test]
    fn an_address_is_that_of_a_host() {
        assert_eq!(host("endpoint", "https://store.example:8443/").unwrap(), "store.example");
        assert_eq!(host("endpoint", "http://127.0.0.1:5000").unwrap(), "127.0.0.1");
        for url in
            ["store.example", "/path", "ftp://a.b", "https://a.b/c", "https://a.b?c", "https://u@a.b", "https://"]
        {
            let refused = host("endpoint", url).unwrap_err();
            assert!(refused.message.starts_with("endpoint cannot be "), "{}", refused.message);
        }
    }
}
