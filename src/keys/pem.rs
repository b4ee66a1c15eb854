//! Reads PEM by the lax grammar of RFC 7468 §3, for keys and certificates.
//!
//! Editors and mail programs alter the strict form: trailing blanks, blank lines, lines of any
//! length, CRLF, text before a block, a byte order mark. None of that changes the content of a block.
//! Decoded bytes are wiped from memory when dropped.

use base64ct::{Base64Unpadded, Encoding as _};
use zeroize::Zeroizing;

const BEGIN: &[u8] = b"-----BEGIN ";
const DASHES: &[u8] = b"-----";
const MAX_LABEL: usize = 64;

/// One block: the part between `-----BEGIN label-----` and `-----END label-----`.
pub(crate) struct Block {
    label: String,
    der: Zeroizing<Vec<u8>>,
    is_encrypted: bool,
}

impl Block {
    /// Returns the block's label, such as `PRIVATE KEY`.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Returns the decoded bytes; none if they are encrypted.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// Whether it is encrypted with a password, in PKCS#8 or in OpenSSL's older form.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Whether it holds a private key of some form.
    pub(crate) fn is_private_key(&self) -> bool {
        self.label.ends_with("PRIVATE KEY")
    }

    fn read(label: &str, body: &[u8]) -> Result<Self, &'static str> {
        // Headers (RFC 1421 §4.6) only say how a key is encrypted.
        let is_encrypted = label == "ENCRYPTED PRIVATE KEY" || find(body, b"Proc-Type: 4,ENCRYPTED").is_some();
        let der = if is_encrypted { Zeroizing::default() } else { decode(body)? };
        Ok(Self { label: label.to_owned(), der, is_encrypted })
    }
}

/// Returns every block of `text`, in order; none if it is not PEM.
///
/// # Errors
/// What is wrong with a block, for a message that names the file.
pub(crate) fn blocks(mut text: &[u8]) -> Result<Vec<Block>, &'static str> {
    let mut blocks = Vec::new();
    while let Some((label, rest)) = begin(text) {
        let end = format!("-----END {label}-----");
        let at = find(rest, end.as_bytes())
            .ok_or("is cut off: its -----BEGIN line has no -----END line with the same words")?;
        let (body, after) = rest.split_at(at);
        blocks.push(Block::read(label, body)?);
        text = after.split_at(end.len()).1;
    }
    Ok(blocks)
}

/// Returns the label of the first block, and what follows its `-----BEGIN label-----`.
fn begin(mut text: &[u8]) -> Option<(&str, &[u8])> {
    let mut starts_line = true;
    loop {
        let (before, rest) = text.split_at(find(text, BEGIN)?);
        let last_end = before.iter().rposition(|byte| matches!(byte, b'\n' | b'\r'));
        let line = last_end.map_or(before, |at| before.split_at(at + 1).1);
        // In the middle of a line, the words are part of some text.
        starts_line = is_blank(line) && (starts_line || line.len() < before.len());
        let rest = rest.split_at(BEGIN.len()).1;
        let (near, _) = rest.split_at(rest.len().min(MAX_LABEL + DASHES.len()));
        let (label, _) = near.split_at(find(near, DASHES).unwrap_or(0));
        if starts_line && !label.is_empty() && label.iter().all(|byte| matches!(byte, b' '..=b'~')) {
            let after = rest.split_at(label.len() + DASHES.len()).1;
            return std::str::from_utf8(label).ok().map(|label| (label, after));
        }
        starts_line = false;
        text = rest;
    }
}

/// Whether a line consists of blanks, or of the byte order marks that some editors write.
fn is_blank(mut line: &[u8]) -> bool {
    loop {
        match line {
            [] => return true,
            [first, rest @ ..] if is_white(*first) => line = rest,
            [0xef, 0xbb, 0xbf, rest @ ..] => line = rest,
            _ => return false,
        }
    }
}

/// RFC 7468 §3: `W`.
fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0b | 0x0c)
}

fn decode(body: &[u8]) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    const DAMAGED: &str = "is damaged: the text between its -----BEGIN and -----END lines is not base64";
    let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
    base64.extend(body.iter().filter(|byte| !is_white(**byte)));
    let digits = base64.iter().rposition(|byte| *byte != b'=').map_or(0, |last| last + 1);
    let padding = base64.len() - digits;
    // Padding may be missing, but not incomplete.
    if padding > 0 && (padding > 2 || base64.len() % 4 != 0) {
        return Err(DAMAGED);
    }
    let mut der = Zeroizing::new(vec![0; digits.div_ceil(4) * 3]);
    let length = Base64Unpadded::decode(base64.split_at(digits).0, &mut der);
    let length = length.map_err(|_| DAMAGED)?.len();
    der.truncate(length);
    Ok(der)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: impl AsRef<[u8]>) -> Result<Vec<(String, Vec<u8>)>, &'static str> {
        let blocks = blocks(text.as_ref())?;
        Ok(blocks.into_iter().map(|block| (block.label.clone(), block.der.to_vec())).collect())
    }

    fn one(label: &str, bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
        vec![(label.to_owned(), bytes.to_vec())]
    }

    #[test]
    fn the_lax_grammar() {
        for text in [
            "-----BEGIN A-----\nAAECAwQFBgc=\n-----END A-----\n",
            "-----BEGIN A-----\r\nAAECAwQFBgc=\r\n-----END A-----",
            "-----BEGIN A-----\rAAECAwQFBgc=\r-----END A-----\r",
            "-----BEGIN A-----AAECAwQFBgc=-----END A-----",
            "-----BEGIN A----- AAEC AwQF Bgc= -----END A-----",
            "-----BEGIN A----- \t\n\n  AAEC\n\x0b\x0cAwQFBgc \n\n=\n-----END A----- \n",
            "-----BEGIN A-----\nAAECAwQFBgc\n-----END A-----\n",
            "\u{feff}-----BEGIN A-----\nAAECAwQFBgc=\n-----END A-----\n",
            " \n\t-----BEGIN A-----\nAAECAwQFBgc=\n-----END A-----\n",
            "Bag: é\nthe -----BEGIN B----- line\n-----BEGIN A-----\nAAECAwQFBgc=\n-----END A-----\nafter",
        ] {
            assert_eq!(read(text), Ok(one("A", &[0, 1, 2, 3, 4, 5, 6, 7])), "{text}");
        }
        let latin1 = b"friendlyName: \xe9\n-----BEGIN A B-----\n-----END A B-----";
        assert_eq!(read(latin1), Ok(one("A B", &[])));
    }

    #[test]
    fn one_block_after_another() {
        let a = "-----BEGIN A-----\nAA==\n-----END A-----";
        let b = "-----BEGIN B-----\nAQ==\n-----END B-----";
        for between in ["\n", "", " ", "\n\u{feff}", "\ntext\n"] {
            let both = read(format!("{a}{between}{b}")).unwrap();
            assert_eq!(both, [("A".to_owned(), vec![0]), ("B".to_owned(), vec![1])], "{between:?}");
        }
    }

    #[test]
    fn what_is_no_block() {
        for text in ["", "text", "-----BEGIN A----", "a -----BEGIN A-----\n", "-----BEGIN -----\n", "-----END A-----"] {
            assert_eq!(read(text), Ok(Vec::new()), "{text}");
        }
        assert_eq!(read(format!("-----BEGIN {}-----", "A".repeat(65))), Ok(Vec::new()));
        for text in ["-----BEGIN A-----", "-----BEGIN A-----\nAA==\n", "-----BEGIN A-----\nAA==\n-----END B-----"] {
            assert!(read(text).unwrap_err().starts_with("is cut off"), "{text}");
        }
        for body in ["A", "AA=", "AA===", "=", "A===", "AA==AA", "AB==", "A-_A", "A: b", "AAé=", "AA\u{feff}=="] {
            let text = format!("-----BEGIN A-----\n{body}\n-----END A-----");
            assert!(read(&text).is_err_and(|problem| problem.starts_with("is damaged")), "{text}");
        }
    }

    #[test]
    fn encrypted() {
        for text in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,AB\n\nAA==\n-----END RSA PRIVATE KEY-----",
        ] {
            let blocks = blocks(text.as_bytes()).unwrap();
            assert!(blocks[0].is_encrypted() && blocks[0].is_private_key(), "{text}");
        }
    }
}
