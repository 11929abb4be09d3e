//! What went wrong, in words that say whose fault it is and what to do.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible, Side};
use std::borrow::Cow;

type Text = Cow<'static, str>;

/// How the peer is called.
fn peer(side: Side) -> &'static str {
    match side {
        Side::Client => "the server",
        Side::Server => "the client",
    }
}

/// Whether a TLS record may begin like this (RFC 8446, 5.1): one of the four content types, version 3.x.
pub(super) fn begins_record(first: &[u8]) -> bool {
    first.first().is_none_or(|kind| (20..=23).contains(kind)) && first.get(1).is_none_or(|major| *major == 3)
}

/// What speaks instead of TLS, by its first bytes; `None`: more of them may tell.
pub(super) fn not_tls(first: &[u8], side: Side, all: bool) -> Option<Text> {
    const NEEDED: usize = 4;
    if first.len() < NEEDED && !all {
        return None;
    }
    const METHODS: [&[u8]; 9] =
        [b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"OPTI", b"PATC", b"CONN", b"PRI "];
    let begins = |with: &[u8]| first.starts_with(with);
    Some(match side {
        Side::Server if METHODS.iter().any(|method| begins(method)) => {
            "the client speaks plain HTTP to a TLS port: it should ask for https://".into()
        }
        Side::Server if begins(b"PROX") || begins(b"\r\n\r\n") => {
            "the client begins with a PROXY protocol header, which was not expected before TLS: turn it off there, or have it \
             read here"
                .into()
        }
        Side::Client if begins(b"HTTP") => {
            "the server speaks plain HTTP on this port: connect without TLS, or to its TLS port (often 443)".into()
        }
        Side::Client if begins(b"220") || begins(b"* OK") || begins(b"+OK") => {
            "the server greets in plain text: this port wants STARTTLS, or no TLS at all".into()
        }
        _ if begins(b"SSH-") => format!("{} speaks SSH, not TLS", peer(side)).into(),
        _ => {
            format!("{} does not speak TLS: it begins with \"{}\"", peer(side), first.escape_ascii()).into()
        }
    })
}

/// The wire has ended without TLS's end.
pub(super) fn truncated(side: Side, established: bool) -> Text {
    let peer = peer(side);
    if established {
        format!(
            "{peer} ended the connection without ending TLS (no close_notify): what came may not be all; where the protocol \
             knows by itself, allow_truncation"
        )
    } else {
        format!("{peer} hung up during the TLS handshake")
    }
    .into()
}

/// What rustls says, for those who do not know it by heart.
pub(super) fn error(error: &Error, side: Side, name: Option<&str>) -> Text {
    let peer = peer(side);
    match error {
        Error::InvalidCertificate(why) => certificate(why, side, name),
        Error::AlertReceived(alert) => alert_received(*alert, side),
        Error::PeerIncompatible(why) => incompatible(why, side),
        Error::NoCertificatesPresented => {
            format!("{peer} showed no certificate, and one is required of it").into()
        }
        Error::NoApplicationProtocol => {
            format!("{peer} offers none of the application protocols (ALPN) that are spoken here").into()
        }
        Error::DecryptError => {
            format!("what {peer} sent cannot be decrypted: it was damaged or changed on the way").into()
        }
        Error::PeerSentOversizedRecord => format!("{peer} sent a TLS record that is too long").into(),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => format!("{peer} sent something that is no TLS record").into(),
        Error::InvalidMessage(why) => {
            format!("{peer} sent a TLS message that cannot be read ({why:?})").into()
        }
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            format!("{peer} sent a TLS message out of turn: {error}").into()
        }
        Error::PeerMisbehaved(why) => format!("{peer} does not keep to TLS's rules ({why:?})").into(),
        Error::FailedToGetCurrentTime => {
            "this machine's clock cannot be read, so no certificate can be verified".into()
        }
        Error::FailedToGetRandomBytes => "this machine gives no random bytes".into(),
        other => format!("TLS with {peer} failed: {other}").into(),
    }
}

fn certificate(why: &CertificateError, side: Side, name: Option<&str>) -> Text {
    let whose = match (side, name) {
        (Side::Client, Some(name)) => format!("the certificate of {name}"),
        _ => "the client's certificate".to_owned(),
    };
    let seconds = |from: u64, to: u64| ago(to.saturating_sub(from));
    match why {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "{whose} expired {} ago: it must be renewed there (if this machine's clock is right)",
            seconds(not_after.as_secs(), time.as_secs())
        ),
        CertificateError::Expired => format!("{whose} has expired: it must be renewed there"),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "{whose} becomes valid only in {}: is this machine's clock right?",
            seconds(time.as_secs(), not_before.as_secs())
        ),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            let names = if names.is_empty() { "no name at all".to_owned() } else { names.join(", ") };
            format!("{whose} is not for that name, but for {names}: ask for one of these, or have the server show another")
        }
        CertificateError::NotValidForName => format!("{whose} is not for that name"),
        CertificateError::UnknownIssuer => format!(
            "{whose} comes from an authority that is not believed here: if it should be, give its root certificate; or the server \
             does not send the intermediate ones"
        ),
        CertificateError::Revoked => format!("{whose} was revoked by its issuer"),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            let role = if side == Side::Client { "servers" } else { "clients" };
            format!("{whose} may not be used by {role} (extended key usage)")
        }
        CertificateError::BadSignature => format!("{whose} is not signed by the authority it names: it is forged or damaged"),
        CertificateError::BadEncoding => format!("{whose} cannot be read"),
        other => format!("{whose} cannot be accepted: {other}"),
    }
    .into()
}

/// `DnsName("example.org")`, as it is told, without its wrapping.
fn bare(name: &str) -> &str {
    name.split('"').nth(1).unwrap_or(name)
}

/// About how long: the largest unit that is there once.
fn ago(seconds: u64) -> String {
    let (count, unit) = match seconds {
        86_400.. => (seconds / 86_400, "day"),
        3_600.. => (seconds / 3_600, "hour"),
        60.. => (seconds / 60, "minute"),
        _ => (seconds, "second"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

fn incompatible(why: &PeerIncompatible, side: Side) -> Text {
    let peer = peer(side);
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled
        | PeerIncompatible::SupportedVersionsExtensionRequired => {
            format!("{peer} and this side have no TLS version in common")
        }
        PeerIncompatible::NoCipherSuitesInCommon => {
            format!("{peer} and this side have no cipher suite in common")
        }
        PeerIncompatible::NoKxGroupsInCommon => {
            format!("{peer} and this side have no key exchange in common")
        }
        PeerIncompatible::NoSignatureSchemesInCommon => {
            format!("{peer} and this side have no kind of signature in common")
        }
        other => format!("{peer} lacks something of TLS that is needed here ({other:?})"),
    }
    .into()
}

fn alert_received(alert: AlertDescription, side: Side) -> Text {
    let peer = peer(side);
    let name = format!("alert {alert:?}");
    let ours = match side {
        Side::Client => "this client's",
        Side::Server => "this server's",
    };
    match alert {
        AlertDescription::UnknownCA => {
            format!("{peer} does not believe the authority of {ours} certificate ({name})")
        }
        AlertDescription::CertificateExpired => {
            format!("{peer} says that {ours} certificate has expired ({name})")
        }
        AlertDescription::CertificateRequired => {
            format!("{peer} requires a certificate of the client, and none was given ({name})")
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::AccessDenied => format!("{peer} does not accept {ours} certificate ({name})"),
        AlertDescription::NoApplicationProtocol => {
            format!("{peer} speaks none of the application protocols (ALPN) that were offered ({name})")
        }
        AlertDescription::UnrecognisedName => format!("{peer} serves nothing by that name ({name})"),
        AlertDescription::ProtocolVersion => {
            format!("{peer} and this side have no TLS version in common ({name})")
        }
        AlertDescription::HandshakeFailure => {
            format!("{peer} found no version, cipher or certificate in common with this side ({name})")
        }
        _ => format!("{peer} broke TLS off ({name})"),
    }
    .into()
}
