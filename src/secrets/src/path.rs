//! Where in a store something is, as a URL: what a manifest says becomes segments below a fixed beginning, and nothing that
//! it says leads anywhere else.
//!
//! Does not know which store it is.

use cardea_contract::secrets::TroubleKind;
use reqwest::Url;

use crate::store::StoreError;

/// What can mean more than itself in a URL, to one of those who read it on the way.
const AMBIGUOUS: [char; 4] = ['%', '?', '#', '\\'];

/// The base URL that a manifest gives as `field`.
pub(crate) fn base(field: &str, text: &str) -> Result<Url, StoreError> {
    Url::parse(text)
        .ok()
        .filter(|url| ["https", "http"].contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty()))
        .filter(|url| url.path() == "/" && url.query().is_none() && url.fragment().is_none())
        .filter(|url| url.username().is_empty() && url.password().is_none())
        .ok_or_else(|| {
            let message = format!("{field} is no base URL: it must be like https://store.example:8200, without a path");
            StoreError::new(TroubleKind::Unusable, message)
        })
}

/// Several segments out of one text of the manifest, `field`, separated by slashes.
pub(crate) fn segments<'a>(field: &str, text: &'a str) -> Result<Vec<&'a str>, StoreError> {
    text.split('/').map(|segment| one(field, segment)).collect()
}

/// `base` and these segments, encoded.
pub(crate) fn below<'a>(base: &Url, segments: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.clear().extend(segments);
    }
    url
}

fn one<'a>(field: &str, segment: &'a str) -> Result<&'a str, StoreError> {
    let climbing = segment.is_empty() || segment == "." || segment == "..";
    if climbing || segment.contains(AMBIGUOUS) || segment.contains(char::is_control) {
        return Err(climbs(field));
    }
    Ok(segment)
}

fn climbs(field: &str) -> StoreError {
    StoreError::new(
        TroubleKind::Unusable,
        format!(
            "{field} cannot be asked for: it must be made of names with single slashes between them, none of which is \".\" or \"..\" or holds %, ?, # or \\"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_lead_elsewhere_is_refused_with_its_field() {
        for climbing in [
            "", "/", "a/", "/a", "a//b", "..", "a/../b", ".", "a/./b", "%2e%2e", "a%2fb", "a?b", "a#b", "a\\b", "a\nb",
            "a\0",
        ] {
            let error = segments("path", climbing).unwrap_err();
            assert_eq!(error.kind, TroubleKind::Unusable);
            assert!(error.message.starts_with("path "), "{climbing:?}: {error}");
        }
    }

    #[test]
    fn names_are_encoded() {
        let base = base("address", "https://store.example:8200/").unwrap();
        let segments = segments("path", "team a/ü;x=1&y:z@..a").unwrap();
        let url = below(&base, ["v1"].into_iter().chain(segments));
        assert_eq!(url.as_str(), "https://store.example:8200/v1/team%20a/%C3%BC;x=1&y:z@..a");
    }

    #[test]
    fn an_address_is_a_base() {
        for no_base in
            ["", "store", "ftp://store", "https://store/v1", "https://store?x", "https://a:b@store", "https://store/#"]
        {
            assert!(base("address", no_base).unwrap_err().message.starts_with("address "), "{no_base}");
        }
        assert!(base("address", "http://127.0.0.1:8200").is_ok());
    }
}
