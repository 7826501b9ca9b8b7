//! What may stand in a name that becomes part of a request to a cloud. A name that none of theirs can be is refused before
//! anything is asked, so that it cannot climb out of its place in a URL.

use cardea_contract::secrets::TroubleKind;

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
}
