//! Private keys in the form that is read here: those that were made elsewhere, and new ones.

use pkcs8::der::asn1::{AnyRef, OctetStringRef, UintRef};
use pkcs8::der::{Decode, Encode, SecretDocument};
use pkcs8::{AlgorithmIdentifierRef, ObjectIdentifier, PrivateKeyInfoRef};
use zeroize::Zeroizing;

use super::decode::{EC, ED25519_OID, P256, RSA, eddsa, is_usual, least_exponent};
use super::error::{ENCRYPTED, InvalidKey, NO_KEY, NO_PEM, NO_PKCS8, NOT_P256, UNUSABLE_RSA};
use super::{Alg, pem};
use crate::crypto::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use crate::crypto::{rand::SystemRandom, random};

/// The private key of a PEM text that was made elsewhere, in the form of PKCS#8 that is read here,
/// and what it signs with. The text may hold other blocks, such as `EC PARAMETERS`.
pub(super) fn to_pkcs8(text: &[u8]) -> Result<(Alg, SecretDocument), InvalidKey> {
    let blocks = pem::blocks(text)?;
    let mut keys = blocks.iter().filter(|block| block.is_private_key());
    let block = match (keys.next(), keys.next()) {
        (Some(block), None) => block,
        (Some(_), Some(_)) => return Err("holds more than one private key; expected one".into()),
        (None, _) if blocks.is_empty() => return Err(NO_PEM.into()),
        (None, _) => return Err(NO_KEY.into()),
    };
    if block.is_encrypted() {
        return Err(ENCRYPTED.into());
    }
    let other_kind = "is of another kind; expected an EC key on P-256, an Ed25519 key or an RSA key";
    match block.label() {
        "PRIVATE KEY" => {
            let info = PrivateKeyInfoRef::try_from(block.der()).map_err(|_| InvalidKey(NO_PKCS8))?;
            let key = info.private_key.as_bytes();
            match info.algorithm.oid {
                EC if info.algorithm.parameters_oid() != Ok(P256) => Err(NOT_P256.into()),
                EC => es256_pkcs8(key),
                ED25519_OID => {
                    // Looks at the public part, if there is one.
                    eddsa(&info, block.der())?;
                    let seed = <&OctetStringRef>::from_der(key).map_err(|_| InvalidKey(NO_PKCS8))?;
                    eddsa_pkcs8(seed.as_bytes()).map(|document| (Alg::EdDsa, document))
                }
                RSA => rs256_pkcs8(key),
                _ => Err(other_kind.into()),
            }
        }
        "EC PRIVATE KEY" => {
            let curves = blocks.iter().filter(|block| block.label() == "EC PARAMETERS").map(pem::Block::der);
            let curves: Vec<_> = curves.map(|curve| ObjectIdentifier::from_der(curve).ok()).collect();
            let inner = sec1::EcPrivateKey::from_der(block.der()).map_err(|_| InvalidKey(NOT_P256))?;
            let own = inner.parameters.map(sec1::EcParameters::named_curve);
            // At least one says it, and no other says otherwise.
            if own.iter().chain(&curves).any(|curve| *curve != Some(P256)) || (own.is_none() && curves.is_empty()) {
                return Err(NOT_P256.into());
            }
            es256_pkcs8(block.der())
        }
        "RSA PRIVATE KEY" => rs256_pkcs8(block.der()),
        _ => Err(other_kind.into()),
    }
}

/// The P-256 key of a SEC 1 structure (RFC 5915 §3), with its public part.
fn es256_pkcs8(sec1: &[u8]) -> Result<(Alg, SecretDocument), InvalidKey> {
    let rejected = || InvalidKey("is not a usable P-256 key");
    let inner = sec1::EcPrivateKey::from_der(sec1).map_err(|_| rejected())?;
    // Some programs leave out zeros before the number, or write more of them.
    let zeros = inner.private_key.iter().take_while(|byte| **byte == 0).count();
    let (_, number) = inner.private_key.split_at(zeros);
    let mut scalar = Zeroizing::new([0; 32]);
    let at = scalar.len().checked_sub(number.len());
    let place = at.and_then(|at| scalar.get_mut(at..)).ok_or_else(rejected)?;
    place.copy_from_slice(number);
    let secret = p256::SecretKey::from_slice(scalar.as_slice()).map_err(|_| rejected())?;
    let public = secret.public_key();
    if let Some(stored) = inner.public_key
        && p256::PublicKey::from_sec1_bytes(stored) != Ok(public)
    {
        return Err("is damaged: its public part belongs to another key".into());
    }
    let public = public.to_sec1_bytes();
    let inner = sec1::EcPrivateKey { private_key: scalar.as_slice(), parameters: None, public_key: Some(&public) };
    let inner = inner.to_der().map(Zeroizing::new).map_err(not_encoded)?;
    pkcs8(EC, Some(AnyRef::from(&P256)), &inner).map(|document| (Alg::Es256, document))
}

/// The RSA key of a PKCS#1 structure (RFC 8017 §A.1.2), with its least private exponent.
fn rs256_pkcs8(pkcs1: &[u8]) -> Result<(Alg, SecretDocument), InvalidKey> {
    let mut key = pkcs1::RsaPrivateKeyRef::from_der(pkcs1).map_err(|_| InvalidKey(UNUSABLE_RSA))?;
    if !is_usual(&key) {
        return Err(UNUSABLE_RSA.into());
    }
    let least = least_exponent(&key).ok_or("is damaged: its parts do not belong together, so it cannot sign")?;
    key.private_exponent = UintRef::new(&least).map_err(not_encoded)?;
    let inner = key.to_der().map(Zeroizing::new).map_err(not_encoded)?;
    pkcs8(RSA, Some(AnyRef::NULL), &inner).map(|document| (Alg::Rs256, document))
}

/// Version 1 of the structure, without the public part: OpenSSL reads no other.
fn eddsa_pkcs8(seed: &[u8]) -> Result<SecretDocument, InvalidKey> {
    let inner = OctetStringRef::new(seed).and_then(|seed| seed.to_der());
    pkcs8(ED25519_OID, None, &inner.map(Zeroizing::new).map_err(not_encoded)?)
}

fn pkcs8(oid: ObjectIdentifier, parameters: Option<AnyRef<'_>>, key: &[u8]) -> Result<SecretDocument, InvalidKey> {
    let info =
        OctetStringRef::new(key).map(|key| PrivateKeyInfoRef::new(AlgorithmIdentifierRef { oid, parameters }, key));
    info.and_then(|info| SecretDocument::encode_msg(&info)).map_err(not_encoded)
}

fn not_encoded(_: pkcs8::der::Error) -> InvalidKey {
    InvalidKey("cannot be encoded")
}

/// A new private key in PKCS#8.
pub(super) fn new_pkcs8(alg: Alg) -> Result<SecretDocument, InvalidKey> {
    let no_randomness = || InvalidKey("the system's random number generator failed");
    match alg {
        Alg::Es256 => {
            let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .map_err(|_| no_randomness())?;
            SecretDocument::try_from(der.as_ref()).map_err(not_encoded)
        }
        Alg::EdDsa => {
            let seed = Zeroizing::new(random::<32>().map_err(|_| no_randomness())?);
            eddsa_pkcs8(seed.as_slice())
        }
        Alg::Rs256 => Err("RSA keys are not made here; make one with `openssl genpkey -algorithm RSA -pkeyopt \
                           rsa_keygen_bits:2048 -out FILE` and take it in with `lingpai keys import FILE`"
            .into()),
    }
}
