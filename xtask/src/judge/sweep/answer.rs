//! The engine's answers, each asked for once.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use super::subject::Subject;
use crate::judge::rows::{Opinion, ask};
use crate::judge::words::words;
use crate::run::{Outcome, target_dir};

/// Judges that run at the same time.
const AT_ONCE: usize = 2;

/// What the engine made of a dump.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) opinion: Opinion,
    /// What it complained of.
    pub(super) words: String,
    /// All that it said, without the file's name.
    pub(super) text: String,
}

impl Answer {
    fn new(opinion: Opinion, text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.contains(".dmp"));
        Self {
            opinion,
            words: words(text),
            text: lines.collect::<Vec<_>>().join("\n"),
        }
    }
}

/// The engine, and the answers that it gave before.
pub(super) struct Judge {
    script: PathBuf,
    folder: PathBuf,
}

impl Judge {
    pub(super) fn new(judges: &Path) -> Outcome<Self> {
        let folder = target_dir().join("judge").join("sweep");
        std::fs::create_dir_all(&folder)?;
        Ok(Self {
            script: judges.join("dbgeng/judge-dbgeng"),
            folder,
        })
    }

    /// Asks about dumps without these pages; the answers are in their order.
    pub(super) fn ask(&self, subject: &Subject, lost: &[Vec<u64>]) -> Outcome<Vec<Answer>> {
        let next = Mutex::new(lost.iter().enumerate());
        let done = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let Some((index, lost)) = next.lock().ok().and_then(|mut all| all.next())
                        else {
                            return;
                        };
                        let answer = self.one(&subject.without(lost));
                        let answer = answer.map_err(|error| error.to_string());
                        if let Ok(mut done) = done.lock() {
                            done.push((index, answer));
                        }
                    }
                });
            }
        });
        let mut done = done.into_inner()?;
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, answer)| Ok(answer?)).collect()
    }

    fn one(&self, bytes: &[u8]) -> Outcome<Answer> {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        let file = self.folder.join(format!("{:016x}.dmp", hasher.finish()));
        let kept = file.with_extension("answer");
        if let Ok(text) = std::fs::read_to_string(&kept)
            && let Some((opinion, text)) = text.split_once('\n')
            && let Some(opinion) = Opinion::of(opinion)
        {
            return Ok(Answer::new(opinion, text));
        }
        std::fs::write(&file, bytes)?;
        let asked = ask(&self.script, &file);
        std::fs::remove_file(&file)?;
        let (opinion, text) = asked?;
        std::fs::write(kept, format!("{}\n{text}", opinion.name()))?;
        Ok(Answer::new(opinion, &text))
    }
}
