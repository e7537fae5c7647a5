//! Lines of a stream that arrive twice, or in another order: what a watch may do, and one through a proxy does.

use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, timeout};

use super::serve::Closed;

/// How long a line waits for one to change places with.
const PAIR: Duration = Duration::from_millis(200);

/// What happens to lines.
#[derive(Clone, Copy, Debug)]
enum Trick {
    Double,
    Swap,
}

/// A stream taken apart into lines.
#[derive(Debug)]
pub(super) struct Lines {
    trick: Trick,
    /// The beginning of a line whose end has not arrived.
    rest: Vec<u8>,
    waiting: Option<Bytes>,
}

type Chunk = Result<Bytes, Closed>;

impl Lines {
    pub(super) fn double() -> Self {
        Self { trick: Trick::Double, rest: Vec::new(), waiting: None }
    }

    pub(super) fn swap() -> Self {
        Self { trick: Trick::Swap, rest: Vec::new(), waiting: None }
    }

    /// Carries the stream until either side ends it; then nothing is held back any more.
    pub(super) async fn hand_on(mut self, mut from: UnboundedReceiver<(Instant, Chunk)>, to: &UnboundedSender<Chunk>) {
        loop {
            // What nobody changes places with goes on alone.
            let patience = if self.waiting.is_some() { PAIR } else { Duration::MAX };
            let Ok(next) = timeout(patience, from.recv()).await else {
                self.flush(to);
                continue;
            };
            let Some((_, Ok(chunk))) = next else { break };
            for line in self.lines(&chunk) {
                self.pass(line, to);
            }
        }
        self.flush(to);
        // Whatever was left of a line belongs to a connection that broke in the middle of it.
        let _ = to.send(Ok(std::mem::take(&mut self.rest).into()));
    }

    fn lines(&mut self, chunk: &[u8]) -> Vec<Bytes> {
        self.rest.extend_from_slice(chunk);
        let end = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        whole.split_inclusive(|&byte| byte == b'\n').map(Bytes::copy_from_slice).collect()
    }

    // A receiver that is gone is seen by the caller, which ends the stream.
    fn pass(&mut self, line: Bytes, to: &UnboundedSender<Chunk>) {
        match (self.trick, self.waiting.take()) {
            (Trick::Double, _) => {
                let _ = to.send(Ok(line.clone()));
                let _ = to.send(Ok(line));
            }
            (Trick::Swap, Some(earlier)) => {
                let _ = to.send(Ok(line));
                let _ = to.send(Ok(earlier));
            }
            (Trick::Swap, None) => self.waiting = Some(line),
        }
    }

    fn flush(&mut self, to: &UnboundedSender<Chunk>) {
        if let Some(line) = self.waiting.take() {
            let _ = to.send(Ok(line));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::unbounded_channel;

    async fn carried(lines: Lines, chunks: &[&'static str]) -> String {
        let (send, from) = unbounded_channel();
        let (to, mut out) = unbounded_channel();
        for chunk in chunks {
            send.send((Instant::now(), Ok(Bytes::from_static(chunk.as_bytes())))).unwrap();
        }
        drop(send);
        lines.hand_on(from, &to).await;
        drop(to);
        let mut told = String::new();
        while let Some(Ok(chunk)) = out.recv().await {
            told += std::str::from_utf8(&chunk).unwrap();
        }
        told
    }

    #[tokio::test]
    async fn lines_come_twice_or_change_places_wherever_the_pieces_end() {
        let pieces = ["a\nb", "b\n", "c\nd"];
        assert_eq!(carried(Lines::double(), &pieces).await, "a\na\nbb\nbb\nc\nc\nd");
        assert_eq!(carried(Lines::swap(), &pieces).await, "bb\na\nc\nd");
    }
}
