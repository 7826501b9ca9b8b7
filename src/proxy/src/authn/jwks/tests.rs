//! Where keys and metadata may stand.

use super::*;

#[test]
fn urls_are_https_and_not_the_node() {
    for (url, expected) in [
        ("https://idp.example/keys", true),
        ("https://10.0.0.1/keys", true),
        ("http://idp.example/keys", false),
        ("https://169.254.169.254/keys", false),
        ("https://[::ffff:169.254.169.254]/keys", false),
        ("https://[fe80::1]/keys", false),
        ("https://0.0.0.0/keys", false),
        ("https://user@idp.example/keys", false),
        ("file:///etc/passwd", false),
    ] {
        assert_eq!(https(url).is_some(), expected, "{url}");
    }
}

#[test]
fn metadata_stands_where_the_standards_say() {
    let urls = |issuer| metadata_urls(issuer).unwrap().map(|url| url.to_string());
    assert_eq!(
        urls("https://idp.example/realms/a"),
        [
            "https://idp.example/realms/a/.well-known/openid-configuration",
            "https://idp.example/.well-known/oauth-authorization-server/realms/a"
        ]
    );
    assert_eq!(
        urls("https://idp.example/"),
        [
            "https://idp.example/.well-known/openid-configuration",
            "https://idp.example/.well-known/oauth-authorization-server"
        ]
    );
    assert!(metadata_urls("https://idp.example/?a=b").is_none());
}
