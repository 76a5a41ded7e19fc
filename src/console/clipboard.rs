//! Copying by way of the terminal: OSC 52, which works over ssh where no program of the machine could reach the
//! user's clipboard.
//!
//! Only the bytes are made here. Terminals take them or not, and do not say which.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Most bytes of text that are copied: with the encoding and the frame they stay below the 100,000 bytes at which
/// terminals (xterm, and hterm by its default) cut a sequence.
const LIMIT: usize = 74_994;
/// Longest string that GNU screen passes on is 768 bytes; this stays well below.
const SCREEN_CHUNK: usize = 252;

/// A program between the console and the terminal that does not pass the sequence on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Multiplexer {
    /// None.
    None,
    /// tmux: wants the sequence wrapped, each escape doubled, and `allow-passthrough on`.
    Tmux,
    /// GNU screen: wants it in pieces.
    Screen,
}

impl Multiplexer {
    /// The one that the environment names. `TMUX` and `STY` name the one that this process is in; `TERM` crosses an
    /// ssh connection and tells of GNU screen on the near side.
    pub fn find() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        Self::of(is_set("TMUX"), is_set("STY"), &std::env::var("TERM").unwrap_or_default())
    }

    fn of(tmux: bool, sty: bool, term: &str) -> Self {
        if tmux || term.starts_with("tmux") {
            Self::Tmux
        } else if sty || term == "screen" || term.starts_with("screen.") {
            Self::Screen
        } else {
            Self::None
        }
    }
}

/// The text is longer than terminals take.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{size} bytes are too many for the terminal's clipboard, which takes {LIMIT}: write them to a file")]
pub struct TooLong {
    /// How long it is, in bytes.
    pub size: usize,
}

/// The bytes that put `text` on the clipboard.
pub fn sequence(text: &str, multiplexer: Multiplexer) -> Result<Vec<u8>, TooLong> {
    if text.len() > LIMIT {
        return Err(TooLong { size: text.len() });
    }
    let copy = format!("\x1b]52;c;{}\x07", STANDARD.encode(text)).into_bytes();
    Ok(match multiplexer {
        Multiplexer::None => copy,
        Multiplexer::Tmux => {
            let mut wrapped = b"\x1bPtmux;".to_vec();
            for byte in copy {
                if byte == b'\x1b' {
                    wrapped.push(byte);
                }
                wrapped.push(byte);
            }
            wrapped.extend_from_slice(b"\x1b\\");
            wrapped
        }
        Multiplexer::Screen => {
            copy.chunks(SCREEN_CHUNK).flat_map(|chunk| [b"\x1bP", chunk, b"\x1b\\"].concat()).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_multiplexer_gets_its_wrapping() {
        for (multiplexer, expected) in [
            (Multiplexer::None, "\x1b]52;c;c3F1YWxs\x07"),
            (Multiplexer::Tmux, "\x1bPtmux;\x1b\x1b]52;c;c3F1YWxs\x07\x1b\\"),
            (Multiplexer::Screen, "\x1bP\x1b]52;c;c3F1YWxs\x07\x1b\\"),
        ] {
            assert_eq!(sequence("squall", multiplexer).unwrap(), expected.as_bytes(), "{multiplexer:?}");
        }
    }

    #[test]
    fn long_text_goes_through_screen_in_pieces() {
        let bytes = sequence(&"x".repeat(1000), Multiplexer::Screen).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let pieces: Vec<_> = text.split("\x1b\\").map(|piece| piece.trim_start_matches("\x1bP")).collect();
        assert!(pieces.iter().all(|piece| piece.len() <= SCREEN_CHUNK), "{pieces:?}");
        assert_eq!(
            pieces.concat().into_bytes(),
            sequence(&"x".repeat(1000), Multiplexer::None).unwrap(),
            "together they are the whole"
        );
    }

    #[test]
    fn the_limit_keeps_the_sequence_below_what_terminals_cut() {
        let longest = sequence(&"x".repeat(LIMIT), Multiplexer::None).unwrap();
        assert!(longest.len() <= 100_000, "{}", longest.len());
        assert_eq!(sequence(&"x".repeat(LIMIT + 1), Multiplexer::None), Err(TooLong { size: LIMIT + 1 }));
    }

    #[test]
    fn the_environment_names_the_multiplexer() {
        for (tmux, sty, term, expected) in [
            (false, false, "xterm-256color", Multiplexer::None),
            (true, false, "screen-256color", Multiplexer::Tmux),
            (false, false, "tmux-256color", Multiplexer::Tmux),
            (false, true, "xterm", Multiplexer::Screen),
            (false, false, "screen", Multiplexer::Screen),
            (false, false, "screen.xterm-256color", Multiplexer::Screen),
        ] {
            assert_eq!(Multiplexer::of(tmux, sty, term), expected, "{tmux} {sty} {term}");
        }
    }
}
