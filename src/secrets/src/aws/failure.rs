//! Why a client of AWS came back with nothing.
//!
//! Does not know what was asked for, nor what the services' own words mean.

use std::error::Error;

use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_secretsmanager::config::http::HttpResponse;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use cardea_contract::secrets::TroubleKind;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::answer::Question;
use crate::https::{NoAnswer, cause};
use crate::store::StoreError;

/// What is wrong. `meaning` knows the service's own words for its failures.
pub(super) fn failure<E>(
    question: &Question<'_>,
    error: &SdkError<E, HttpResponse>,
    meaning: fn(&str) -> Option<(TroubleKind, &'static str)>,
) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    if let Some(known) = of_the_identity(error) {
        return known.clone();
    }
    if let Some(no_answer) = cause::<NoAnswer>(error) {
        return question.unanswered(no_answer);
    }
    let Some(answer) = error.raw_response() else {
        return question.unanswered(&NoAnswer::Request);
    };
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_success() {
        return question.unusable("with something that is not of its protocol: check that its address is that of AWS");
    }
    let headers = answer.headers().get(RETRY_AFTER.as_str()).and_then(|stated| HeaderValue::try_from(stated).ok());
    let headers: HeaderMap = headers.into_iter().map(|stated| (RETRY_AFTER, stated)).collect();
    let meant = error.code().filter(|_| status.is_client_error()).and_then(|code| {
        if THROTTLING_ERRORS.contains(&code) {
            Some((TroubleKind::Unavailable, "it is asked too much: ask it less often (refreshSeconds)"))
        } else if TRANSIENT_ERRORS.contains(&code) {
            Some((TroubleKind::Unavailable, "it says that this passes"))
        } else {
            meaning(code)
        }
    });
    match meant {
        Some((kind, help)) => question.means(kind, status, &headers, help),
        None => question.refused(status, &headers),
    }
}

/// What went wrong with the identity, before Secrets Manager was asked anything.
pub(super) fn of_the_identity<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a StoreError> {
    cause(error)
}
