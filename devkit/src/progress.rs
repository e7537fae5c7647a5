//! Telling a person what is going on: one line a step with the time it took. On a terminal the running step is a
//! spinner; elsewhere (CI) a step that takes long says so every 15 seconds. All of it goes to stderr directly, past
//! the capture of the test harness: the first build of the control plane may happen inside a test.

use std::io::{IsTerminal as _, Write as _};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

const REMINDER: Duration = Duration::from_secs(15);

/// One thing being done. Dropped without [`Step::done`], it leaves no line behind.
#[derive(Debug)]
pub struct Step {
    started: Instant,
    display: Display,
}

#[derive(Debug)]
enum Display {
    Terminal(ProgressBar),
    Plain { text: Arc<Mutex<String>>, reminder: Option<(Sender<()>, JoinHandle<()>)> },
}

impl Step {
    /// Begins a step; `text` says what is being done.
    #[must_use]
    pub fn start(text: impl Into<String>) -> Self {
        let started = Instant::now();
        let text = text.into();
        let display = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner().with_message(text);
            bar.set_style(spinner());
            bar.enable_steady_tick(Duration::from_millis(120));
            Display::Terminal(bar)
        } else {
            let text = Arc::new(Mutex::new(text));
            let reminder = Some(remind(Arc::clone(&text), started));
            Display::Plain { text, reminder }
        };
        Self { started, display }
    }

    /// Replaces the text of the running step.
    pub fn update(&self, text: impl Into<String>) {
        match &self.display {
            Display::Terminal(bar) => bar.set_message(text.into()),
            Display::Plain { text: shown, .. } => {
                *shown.lock().unwrap_or_else(PoisonError::into_inner) = text.into();
            }
        }
    }

    /// Ends the step with a line that says what was reached.
    pub fn done(mut self, text: &str) {
        self.clear();
        line(&format!("{:>7.1}s  {text}", self.started.elapsed().as_secs_f32()));
    }

    fn clear(&mut self) {
        match &mut self.display {
            Display::Terminal(bar) => bar.finish_and_clear(),
            Display::Plain { reminder, .. } => {
                if let Some((sender, thread)) = reminder.take() {
                    drop(sender);
                    // Only a panic inside the thread could fail here, and it does nothing that panics.
                    let _ = thread.join();
                }
            }
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.clear();
    }
}

/// One line on stderr, seen even when the test harness captures output.
pub fn line(text: &str) {
    // Nobody is left to tell when stderr is closed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{elapsed:>8} {spinner} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn remind(text: Arc<Mutex<String>>, started: Instant) -> (Sender<()>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        while receiver.recv_timeout(REMINDER) == Err(RecvTimeoutError::Timeout) {
            let text = text.lock().unwrap_or_else(PoisonError::into_inner).clone();
            line(&format!("{:>7.0}s  ... {text}", started.elapsed().as_secs_f32()));
        }
    });
    (sender, thread)
}
