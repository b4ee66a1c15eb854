//! Client certificates that a proxy passes on (RFC 9440).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use poem::http::{HeaderMap, HeaderName};

use super::parameters::elements_from_last;
use crate::crypto::sha256;
use crate::peer::ClientCertificate;

const CERTIFICATE: HeaderName = HeaderName::from_static("client-cert");
const CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// Returns the certificate in `headers`, which a trusted proxy wrote. None if it is absent, or if a
/// field does not have the RFC's form: a proxy that garbles it is not trusted.
pub(super) fn forwarded(headers: &HeaderMap) -> Option<ClientCertificate> {
    let mut fields = headers.get_all(CERTIFICATE).iter();
    let (Some(own), None) = (fields.next(), fields.next()) else { return None };
    let mut chain = vec![byte_sequence(own.as_bytes())?];
    let rest = headers.get_all(CHAIN).iter();
    for field in rest {
        let mut elements: Vec<_> = elements_from_last(field.as_bytes()).collect();
        elements.reverse();
        for element in elements {
            if chain.len() == ClientCertificate::MAX_CHAIN {
                return None;
            }
            chain.push(byte_sequence(element?)?);
        }
    }
    ClientCertificate::new(chain, sha256)
}

/// Parses `:…:`, standard base64 (RFC 8941 §3.3.5), without parameters.
fn byte_sequence(text: &[u8]) -> Option<Box<[u8]>> {
    let encoded = text.trim_ascii().strip_prefix(b":")?.strip_suffix(b":")?;
    STANDARD.decode(encoded).ok().filter(|bytes| !bytes.is_empty()).map(Into::into)
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    fn read(own: &[&str], chain: &[&str]) -> Option<Vec<Vec<u8>>> {
        let mut headers = HeaderMap::new();
        for (name, values) in [(CERTIFICATE, own), (CHAIN, chain)] {
            for value in values {
                headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
            }
        }
        forwarded(&headers).map(|certificate| certificate.chain().map(<[u8]>::to_vec).collect())
    }

    #[test]
    fn a_certificate_and_its_chain() {
        let bytes = |all: &[&[u8]]| Some(all.iter().map(|one| one.to_vec()).collect::<Vec<_>>());
        assert_eq!(read(&[":YQ==:"], &[]), bytes(&[b"a"]));
        assert_eq!(read(&[" :YQ==: "], &[":Yg==:, :Yw==:", ":ZA==:"]), bytes(&[b"a", b"b", b"c", b"d"]));
        assert_eq!(read(&[":YQ==:"], &[&[":Yg==:"; 7].join(",")]).map(|all| all.len()), Some(8));
        for (own, chain) in [
            (&[][..], &[":Yg==:"][..]),
            (&[":YQ==:", ":YQ==:"], &[]),
            (&["YQ=="], &[]),
            (&[":YQ==:;a=b"], &[]),
            (&[":YQ:"], &[]),
            (&["::"], &[]),
            (&[":"], &[]),
            (&[":YQ==:, :Yg==:"], &[]),
            (&[":YQ==:"], &["x"]),
            (&[":YQ==:"], &[&[":Yg==:"; 8].join(",")]),
        ] {
            assert_eq!(read(own, chain), None, "{own:?} {chain:?}");
        }
    }
}
