//! What an answer of a store over HTTP means: its JSON, or which kind of failure, in words that name what was asked for and
//! what helps, and repeat nothing that was sent but the status.
//!
//! Does not know any store.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use cardea_contract::secrets::TroubleKind;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};
use serde::Deserialize;

use crate::https::NoAnswer;
use crate::store::StoreError;

/// The longest that a store can make us leave it alone.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Of a status that says no: which kind of failure, and what helps. None: as with any store.
pub(crate) type Meaning = fn(StatusCode) -> Option<(TroubleKind, &'static str)>;

/// A question, as failures name it.
pub(crate) struct Question<'a> {
    /// Who is asked, as the manifest names it: `Vault at https://vault.example:8200`.
    pub(crate) whom: &'a str,
    /// What is asked for: `secret/app`.
    pub(crate) what: &'a str,
    /// What a status means to this store beyond what it means to all, and what helps.
    pub(crate) meaning: Meaning,
}

impl Question<'_> {
    /// The body of an answer that says yes in JSON.
    pub(crate) fn json(&self, answer: Result<Response<Bytes>, NoAnswer>) -> Result<Bytes, StoreError> {
        let answer = answer.map_err(|error| self.unanswered(&error))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(self.refused(status, answer.headers()));
        }
        match media_type(answer.headers()) {
            Media::Json => Ok(answer.into_body()),
            Media::Html => {
                Err(self.unusable("with a web page (HTML): check that its address is that of the store itself"))
            }
            Media::Other => {
                Err(self.unusable("with something that is not JSON: check that its address is that of the store"))
            }
        }
    }

    /// What a body says.
    pub(crate) fn parsed<'de, T: Deserialize<'de>>(&self, body: &'de [u8]) -> Result<T, StoreError> {
        // The parser's own words may repeat what it read.
        serde_json::from_slice(body).map_err(|_| {
            self.unusable("with JSON of another shape: check that its address and kind are those of the store")
        })
    }

    /// An answer that cannot be used; `how` follows "has answered".
    pub(crate) fn unusable(&self, how: &str) -> StoreError {
        StoreError::new(TroubleKind::Unusable, format!("{} has answered {how} (asked for {})", self.whom, self.what))
    }

    /// No answer at all.
    pub(crate) fn unanswered(&self, error: &NoAnswer) -> StoreError {
        let kind = match error {
            NoAnswer::Request | NoAnswer::TooLarge => TroubleKind::Unusable,
            _ => TroubleKind::Unavailable,
        };
        StoreError::new(kind, format!("{} {error} (asked for {})", self.whom, self.what))
    }

    fn refused(&self, status: StatusCode, headers: &HeaderMap) -> StoreError {
        let (kind, help) = match (self.meaning)(status) {
            Some((kind, help)) => (kind, Some(help)),
            None => (kind(status), None),
        };
        let (whom, what) = (self.whom, self.what);
        let mut message = match kind {
            _ if status.is_redirection() => format!("{whom} answers with a redirect for {what}, which is not followed"),
            TroubleKind::Refused => format!("{whom} refuses {what}"),
            TroubleKind::NotFound => format!("{whom} has no {what}"),
            TroubleKind::Unavailable => format!("{whom} has no answer for {what} at present"),
            TroubleKind::Unusable => format!("{whom} does not accept the question for {what}"),
        };
        message.push_str(&format!(" (status {})", status.as_u16()));
        if let Some(help) = help.or(status.is_redirection().then_some("give the address that it leads to")) {
            message.push_str(&format!(": {help}"));
        }
        StoreError { retry_after: retry_after(headers, SystemTime::now()), ..StoreError::new(kind, message) }
    }
}

/// What a status that says no means to all.
fn kind(status: StatusCode) -> TroubleKind {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => TroubleKind::Refused,
        StatusCode::NOT_FOUND | StatusCode::GONE => TroubleKind::NotFound,
        _ if passes(status) => TroubleKind::Unavailable,
        _ => TroubleKind::Unusable,
    }
}

fn passes(status: StatusCode) -> bool {
    let passing = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::PRECONDITION_FAILED,
        StatusCode::TOO_EARLY,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    status.is_server_error() || passing.contains(&status)
}

enum Media {
    Json,
    Html,
    Other,
}

fn media_type(headers: &HeaderMap) -> Media {
    let stated = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Media::Json,
        other if other.ends_with("+json") => Media::Json,
        "text/html" | "application/xhtml+xml" => Media::Html,
        _ => Media::Other,
    }
}

/// How long the other side asks to be left alone: seconds or a date (RFC 9110 section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let stated = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked = match stated.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(stated).ok()?.duration_since(now).unwrap_or_default(),
    };
    Some(asked.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn after(stated: &str, now: SystemTime) -> Option<u64> {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::try_from(stated).unwrap())]);
        retry_after(&headers, now).map(|asked| asked.as_secs())
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(after("7", now), Some(7));
        assert_eq!(after("Sun, 06 Nov 1994 08:50:07 GMT", now), Some(30));
        assert_eq!(after("Sunday, 06-Nov-94 08:50:07 GMT", now), Some(30));
        assert_eq!(after("Sun, 06 Nov 1994 08:00:00 GMT", now), Some(0), "a date that has passed");
        assert_eq!(after("99999999999", now), Some(3600), "not for ever");
        assert_eq!(after("soon", now), None);
        assert_eq!(after("-1", now), None);
    }

    #[test]
    fn a_media_type_counts_without_its_parameters() {
        let of = |stated: &'static str| {
            media_type(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(stated))]))
        };
        assert!(matches!(of("application/json; charset=utf-8"), Media::Json));
        assert!(matches!(of("Application/Problem+JSON"), Media::Json));
        assert!(matches!(of("text/html;charset=utf-8"), Media::Html));
        assert!(matches!(of("application/jsonp"), Media::Other));
        assert!(matches!(media_type(&HeaderMap::new()), Media::Other));
    }
}
