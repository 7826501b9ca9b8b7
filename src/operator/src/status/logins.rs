//! What a person should know of the authorization servers before the first login fails: what they say of themselves to
//! clients, as the proxies read it, and whether that is enough for a client that has never been there.
//!
//! Ready does not wait for it: tokens are judged without, and clients may be registered by hand.

use cardea_api::v1alpha1::conditions::Finding;
use cardea_api::v1alpha1::reasons::{self, condition};
use cardea_api::v1alpha1::{ClientRegistration, IssuerMetadata, IssuerStatus};
use cardea_contract::{Issuer, LoginSupport, ProxyReport, ServerMetadata, TokenKind};

/// The authorization servers among the issuers.
pub(super) fn issuers<'a>(
    issuers: &[Issuer],
    reports: impl Iterator<Item = &'a ProxyReport>,
    former: &[IssuerStatus],
) -> Vec<IssuerStatus> {
    let told: Vec<_> = reports.flat_map(|report| &report.authorization_servers).collect();
    let servers = issuers.iter().filter(|issuer| matches!(issuer.kind, TokenKind::Oidc { .. }));
    let described = |issuer: &Issuer| {
        let mut told = told.iter().filter(|server| server.name == issuer.name).map(|server| server.metadata);
        // One proxy that could read it says more than another that could not.
        let best = told.clone().find(|metadata| matches!(metadata, ServerMetadata::Read(_))).or_else(|| told.next());
        match best {
            Some(metadata) => describe(issuer, metadata),
            // Nobody tells at present: what was told before stands, if it is about this one.
            None => former
                .iter()
                .find(|former| former.name == issuer.name && former.url == issuer.url)
                .cloned()
                .unwrap_or_else(|| of(issuer, IssuerMetadata::Pending)),
        }
    };
    servers.map(described).collect()
}

fn of(issuer: &Issuer, metadata: IssuerMetadata) -> IssuerStatus {
    IssuerStatus {
        name: issuer.name.clone(),
        url: issuer.url.clone(),
        metadata,
        client_registration: vec![],
        pkce_s256: None,
        issuer_parameter: None,
    }
}

fn describe(issuer: &Issuer, metadata: ServerMetadata) -> IssuerStatus {
    let LoginSupport { dynamic_registration, client_id_metadata_documents, pkce_s256, issuer_parameter } =
        match metadata {
            ServerMetadata::Read(support) => support,
            ServerMetadata::OtherIssuer => return of(issuer, IssuerMetadata::OtherIssuer),
            ServerMetadata::Unreadable => return of(issuer, IssuerMetadata::Unreadable),
        };
    let ways = [
        (client_id_metadata_documents, ClientRegistration::ClientIdMetadataDocument),
        (dynamic_registration, ClientRegistration::Dynamic),
    ];
    IssuerStatus {
        client_registration: ways.into_iter().filter(|(offered, _)| *offered).map(|(_, way)| way).collect(),
        pkce_s256: Some(pkce_s256),
        issuer_parameter: Some(issuer_parameter),
        ..of(issuer, IssuerMetadata::Read)
    }
}

/// Whether a client that has never been there could log in: the gravest that stands against it, with all issuers that it
/// is true of.
pub(super) fn login_ready(issuers: &[IssuerStatus], at: &str) -> Finding {
    let finding = |status, reason, message: String| Finding::new(condition::LOGIN_READY, status, reason, message);
    if issuers.is_empty() {
        return finding(Some(true), reasons::NONE_DECLARED, "there is no authorization server to log in to".to_owned());
    }
    let names = |fits: fn(&IssuerStatus) -> bool| {
        let names: Vec<&str> =
            issuers.iter().filter(|issuer| fits(issuer)).map(|issuer| issuer.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(", "))
    };
    if let Some(names) = names(|issuer| issuer.metadata == IssuerMetadata::OtherIssuer) {
        return finding(
            Some(false),
            reasons::METADATA_UNREADABLE,
            format!(
                "{at}.issuers: the metadata at {names} names another issuer, so no client may use it: write url exactly as it stands there"
            ),
        );
    }
    if let Some(names) = names(|issuer| issuer.pkce_s256 == Some(false)) {
        return finding(
            Some(false),
            reasons::NO_PKCE,
            format!(
                "{at}.issuers: {names} does not say that it takes PKCE with S256 (code_challenge_methods_supported), so clients of MCP refuse to log in there: turn it on at the authorization server"
            ),
        );
    }
    if let Some(names) =
        names(|issuer| issuer.metadata == IssuerMetadata::Read && issuer.client_registration.is_empty())
    {
        return finding(
            Some(false),
            reasons::NO_REGISTRATION,
            format!(
                "{at}.issuers: {names} offers neither client id metadata documents nor dynamic registration: turn one of them on at the authorization server, or register each client there and give it its client id"
            ),
        );
    }
    if let Some(names) = names(|issuer| issuer.metadata == IssuerMetadata::Unreadable) {
        return finding(
            None,
            reasons::METADATA_UNREADABLE,
            format!(
                "{at}.issuers: the metadata of {names} cannot be read, so whether clients can log in there is not known"
            ),
        );
    }
    if names(|issuer| issuer.metadata == IssuerMetadata::Pending).is_some() {
        return finding(None, reasons::PENDING, "no proxy has told yet".to_owned());
    }
    finding(Some(true), reasons::LOGIN_POSSIBLE, "clients can register and log in".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn issuer(name: &str) -> Issuer {
        serde_json::from_value(json!({
            "name": name, "url": format!("https://{name}.example"), "audiences": ["a"], "keys": "discovery",
            "kind": {"oidc": {"subjectClaim": "sub", "groupsClaim": "groups"}},
        }))
        .unwrap()
    }

    fn report(servers: &[(&str, ServerMetadata)]) -> ProxyReport {
        let servers: Vec<_> =
            servers.iter().map(|(name, metadata)| json!({"name": name, "metadata": metadata})).collect();
        serde_json::from_value(json!({
            "generation": 1, "authorizationServers": servers, "trustBundle": "",
            "leaf": {"serial": "", "notAfter": 0}, "handshake": {"failed": {"message": ""}},
        }))
        .unwrap()
    }

    const ALL: LoginSupport = LoginSupport {
        dynamic_registration: true,
        client_id_metadata_documents: true,
        pkce_s256: true,
        issuer_parameter: true,
    };

    #[test]
    fn the_gravest_is_named_with_whom_it_is_true_of() {
        use ServerMetadata::{OtherIssuer, Read, Unreadable};
        let by_hand = Read(LoginSupport { dynamic_registration: false, client_id_metadata_documents: false, ..ALL });
        let no_pkce = Read(LoginSupport { pkce_s256: false, ..ALL });
        for (a, b, expected, named) in [
            (Read(ALL), Read(LoginSupport { dynamic_registration: false, ..ALL }), (Some(true), "LoginPossible"), ""),
            (Read(ALL), by_hand, (Some(false), "NoClientRegistration"), "b offers"),
            (no_pkce, by_hand, (Some(false), "NoPkce"), "a does"),
            (no_pkce, no_pkce, (Some(false), "NoPkce"), "a, b does"),
            (Unreadable, by_hand, (Some(false), "NoClientRegistration"), "b offers"),
            (Unreadable, Read(ALL), (None, "MetadataUnreadable"), "of a cannot"),
            (no_pkce, OtherIssuer, (Some(false), "MetadataUnreadable"), "at b names"),
        ] {
            let report = report(&[("a", a), ("b", b)]);
            let found = issuers(&[issuer("a"), issuer("b")], [&report].into_iter(), &[]);
            let finding = login_ready(&found, "spec.auth");
            assert_eq!((finding.status, finding.reason), expected, "{}", finding.message);
            assert!(finding.message.contains(named), "{}", finding.message);
        }
    }

    #[test]
    fn what_was_told_stands_while_nobody_tells() {
        let first = report(&[("a", ServerMetadata::Unreadable)]);
        let second = report(&[("a", ServerMetadata::Read(ALL))]);
        let told = issuers(&[issuer("a")], [&first, &second].into_iter(), &[]);
        assert_eq!(told[0].metadata, IssuerMetadata::Read);
        assert_eq!(issuers(&[issuer("a")], [].into_iter(), &told), told);
        let elsewhere = Issuer { url: "https://other.example".into(), ..issuer("a") };
        assert_eq!(issuers(&[elsewhere], [].into_iter(), &told)[0].metadata, IssuerMetadata::Pending);
        assert_eq!(login_ready(&[], "spec.auth").status, Some(true));
    }
}
