//! The one door to child processes.
//!
//! A child gets a cleared environment, its own process group and a deadline. `docker compose` is two processes, so it is
//! always the group that is signalled, never the child alone.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio_process_stream::{Item, ProcessChunkStream};
use tokio_util::sync::CancellationToken;

use super::task;

/// How long a child that was asked to end may take before it is killed.
const GRACE: Duration = Duration::from_secs(10);
/// How long output may go on after the child itself has ended, when a grandchild still holds the pipe.
const STRAGGLERS: Duration = Duration::from_secs(2);
/// How often a wait looks whether the child has ended.
const TICK: Duration = Duration::from_millis(250);
/// Standard output beyond this is an error: no reply that is read here is as long.
const MAX_STDOUT: usize = 32 << 20;
/// A line longer than this is cut: it is no line that a person or a parser here could use.
const MAX_LINE: usize = 64 << 10;
/// How many last lines of standard error are kept to explain a failure.
const TAIL_LINES: usize = 20;

/// A child to run: program and arguments, never a shell string.
#[derive(Debug)]
pub struct Command {
    program: PathBuf,
    args: Vec<OsString>,
    dir: Option<PathBuf>,
    env: BTreeMap<OsString, OsString>,
    stdin: Stdio,
    outlives: bool,
}

/// What a child that exited with 0 left.
#[derive(Debug)]
pub struct Output {
    pub stdout: Vec<u8>,
}

/// Every way in which a child can fail.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("`{program}` was not found")]
    NotFound { program: String },
    #[error("`{program}` could not be started: {reason}")]
    Spawn { program: String, reason: io::Error },
    #[error("`{command}` exited with {code}")]
    Exit { command: String, code: i32, stderr: String },
    #[error("`{command}` was ended by signal {signal}")]
    Signal { command: String, signal: i32, stderr: String },
    #[error("`{command}` did not end within {} s", after.as_secs())]
    Timeout { command: String, after: Duration, stderr: String },
    #[error("`{command}` was cancelled")]
    Cancelled { command: String },
    #[error("reading the output of `{command}` failed: {reason}")]
    Output { command: String, reason: String },
}

impl Command {
    /// A child with nothing but `env` in its environment and an empty standard input.
    pub fn new(program: impl Into<PathBuf>, env: &BTreeMap<OsString, OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            dir: None,
            env: env.clone(),
            stdin: Stdio::null(),
            outlives: false,
        }
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// The directory to run in. `PWD` is set as a shell would set it: Compose files say `${PWD}`.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        self.env.insert("PWD".into(), dir.clone().into());
        self.dir = Some(dir);
        self
    }

    /// What the child reads; see [`crate::adapters::lock::JobLock::as_stdin`] for why it may be a lock.
    pub fn stdin(mut self, stdin: Stdio) -> Self {
        self.stdin = stdin;
        self
    }

    /// Lets the child go on to its end when nobody waits for it any more: ended half-way it would leave half a project.
    ///
    /// It is never signalled: at its deadline it is left alone. What it says goes to a file in memory, because at the
    /// first line into a pipe that nobody reads it would die. Its standard output is dropped.
    pub fn outlives_its_caller(mut self) -> Self {
        self.outlives = true;
        self
    }

    /// The command as a person would type it, for error messages; environment and directory are left out.
    pub fn display(&self) -> String {
        let program = self.program.file_name().unwrap_or(self.program.as_os_str());
        let words = std::iter::once(program).chain(self.args.iter().map(OsString::as_os_str));
        words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
    }

    /// Like [`Command::run`] for a child whose result is its standard output, line by line; its last words still explain
    /// a failure.
    pub async fn run_lines(
        self,
        deadline: Duration,
        cancel: &CancellationToken,
        on_line: impl FnMut(&str),
    ) -> Result<(), CommandError> {
        self.run_with(deadline, cancel, |_| {}, Some(on_line)).await.map(drop)
    }

    /// Runs the child to its end and gives each line of its standard error to `on_line` as it comes.
    ///
    /// At `deadline` or when `cancel` fires, the group is asked to end and after ten seconds killed.
    pub async fn run(
        self,
        deadline: Duration,
        cancel: &CancellationToken,
        on_line: impl FnMut(&str),
    ) -> Result<Output, CommandError> {
        self.run_with(deadline, cancel, on_line, None::<fn(&str)>).await
    }

    async fn run_with(
        self,
        deadline: Duration,
        cancel: &CancellationToken,
        mut on_line: impl FnMut(&str),
        mut on_stdout: Option<impl FnMut(&str)>,
    ) -> Result<Output, CommandError> {
        let command = self.display();
        // The child has to reach its directory and its program before it has started; they may lie where nothing answers.
        let program = self.program.display().to_string();
        let started = task::blocking("starting a child", move || self.spawn());
        let (child, mut said) = match tokio::time::timeout(deadline, started).await {
            Ok(Ok(started)) => started?,
            Ok(Err(broke_off)) => return Err(CommandError::Spawn { program, reason: io::Error::other(broke_off) }),
            Err(_) => return Err(CommandError::Timeout { command, after: deadline, stderr: String::new() }),
        };
        let mut stream = ProcessChunkStream::from(child);
        let group = stream.child().and_then(tokio::process::Child::id);
        let mut stdout = Vec::new();
        let (mut lines, mut stdout_lines) = (Lines::default(), Lines::default());
        let mut end = End::Running { until: Instant::now() + deadline };
        let mut cancelled = false;
        let mut tick = tokio::time::interval(TICK);
        let status = loop {
            tokio::select! {
                item = stream.next() => match item {
                    Some(Item::Stdout(chunk)) if let Some(on_stdout) = &mut on_stdout => stdout_lines.feed(&chunk, on_stdout),
                    Some(Item::Stdout(chunk)) if stdout.len() + chunk.len() > MAX_STDOUT => {
                        signal(group, rustix::process::Signal::KILL);
                        return Err(CommandError::Output { command, reason: "it is too long".into() });
                    }
                    Some(Item::Stdout(chunk)) => stdout.extend_from_slice(&chunk),
                    Some(Item::Stderr(chunk)) => lines.feed(&chunk, &mut on_line),
                    Some(Item::Done(status)) => break status,
                    None => return Err(CommandError::Output { command, reason: "the pipes closed early".into() }),
                },
                () = cancel.cancelled(), if !cancelled && said.is_none() => {
                    cancelled = true;
                    end.ask(group);
                }
                _ = tick.tick() => {
                    if let Some(said) = &mut said {
                        said.read(|chunk| lines.feed(chunk, &mut on_line));
                        if end.is_due() {
                            return Err(CommandError::Timeout { command, after: deadline, stderr: lines.tail() });
                        }
                        continue;
                    }
                    if let Some(status) = exited_with_stragglers(&mut stream, &mut end) {
                        signal(group, rustix::process::Signal::KILL);
                        break Ok(status);
                    }
                    end.advance(group);
                }
            }
        };
        if let Some(said) = &mut said {
            said.read(|chunk| lines.feed(chunk, &mut on_line));
        }
        lines.finish(&mut on_line);
        if let Some(on_stdout) = &mut on_stdout {
            stdout_lines.finish(on_stdout);
        }
        let status =
            status.map_err(|reason| CommandError::Output { command: command.clone(), reason: reason.to_string() })?;
        let timed_out = matches!(end, End::Asked { .. } | End::Killed) && !cancelled;
        classify(status, command, lines.tail(), cancelled, timed_out.then_some(deadline)).map(|()| Output { stdout })
    }

    /// The child, and what it says if it outlives its caller; otherwise that is in its pipes.
    #[expect(clippy::disallowed_methods, reason = "this is the one door to child processes")]
    fn spawn(self) -> Result<(tokio::process::Child, Option<Said>), CommandError> {
        let program = self.program.display().to_string();
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.args).env_clear().envs(&self.env).stdin(self.stdin);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(!self.outlives);
        let mut said = None;
        if self.outlives {
            let opened = Said::open().map_err(|reason| CommandError::Spawn { program: program.clone(), reason })?;
            let (file, stderr) = opened;
            command.stdout(Stdio::null()).stderr(stderr);
            said = Some(file);
        }
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let wrong_dir = self.dir.as_ref().is_some_and(|dir| !dir.is_dir());
        let child = command.spawn().map_err(|reason| match reason.kind() {
            io::ErrorKind::NotFound if !wrong_dir => CommandError::NotFound { program },
            _ => CommandError::Spawn { program, reason },
        });
        child.map(|child| (child, said))
    }
}

fn classify(
    status: ExitStatus,
    command: String,
    stderr: String,
    cancelled: bool,
    timed_out: Option<Duration>,
) -> Result<(), CommandError> {
    if cancelled {
        return Err(CommandError::Cancelled { command });
    }
    if let Some(after) = timed_out {
        return Err(CommandError::Timeout { command, after, stderr });
    }
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(CommandError::Exit { command, code, stderr }),
        (None, signal) => Err(CommandError::Signal { command, signal: signal.unwrap_or_default(), stderr }),
    }
}

/// How the life of a child is brought to its end.
enum End {
    Running { until: Instant },
    Asked { until: Instant },
    Exited { until: Instant },
    Killed,
}

impl End {
    /// Asks the group to end.
    fn ask(&mut self, group: Option<u32>) {
        signal(group, rustix::process::Signal::TERM);
        *self = Self::Asked { until: Instant::now() + GRACE };
    }

    /// Returns whether the child has used up its time.
    fn is_due(&self) -> bool {
        matches!(self, Self::Running { until } if Instant::now() >= *until)
    }

    /// Takes the next step when its time has come.
    fn advance(&mut self, group: Option<u32>) {
        match self {
            Self::Running { .. } if self.is_due() => self.ask(group),
            Self::Asked { until } if Instant::now() >= *until => {
                signal(group, rustix::process::Signal::KILL);
                *self = Self::Killed;
            }
            _ => {}
        }
    }
}

/// The status of a child that has ended while something else still holds its pipes open for too long.
fn exited_with_stragglers(stream: &mut ProcessChunkStream, end: &mut End) -> Option<ExitStatus> {
    let status = stream.child_mut()?.try_wait().ok()??;
    match end {
        End::Exited { until } if Instant::now() >= *until => Some(status),
        // Whoever has left the group and holds the pipe was not killed with it.
        End::Killed => Some(status),
        End::Running { .. } => {
            *end = End::Exited { until: Instant::now() + STRAGGLERS };
            None
        }
        _ => None,
    }
}

fn signal(group: Option<u32>, signal: rustix::process::Signal) {
    let pid = group.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // A group that has just ended is what was wanted.
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

/// What a child that outlives its caller says: in a file that only the two of them have.
struct Said {
    file: File,
    read: u64,
}

impl Said {
    /// A new file, and the same as the child's standard error.
    fn open() -> io::Result<(Self, Stdio)> {
        let file = File::from(rustix::fs::memfd_create("restock", rustix::fs::MemfdFlags::CLOEXEC)?);
        let stderr = file.try_clone()?.into();
        Ok((Self { file, read: 0 }, stderr))
    }

    /// Gives what is new to `on_chunk`. The position in the file is the child's alone.
    fn read(&mut self, mut on_chunk: impl FnMut(&[u8])) {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = self.file.read_at(&mut chunk, self.read) {
            on_chunk(&chunk[..length]);
            self.read += length as u64;
        }
    }
}

/// Splits a byte stream into lines at `\n` and `\r` (progress bars redraw with it), and remembers the last ones.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
    tail: VecDeque<String>,
}

impl Lines {
    fn feed(&mut self, chunk: &[u8], on_line: &mut impl FnMut(&str)) {
        for byte in chunk {
            if matches!(byte, b'\n' | b'\r') {
                self.finish(on_line);
            } else if self.partial.len() < MAX_LINE {
                self.partial.push(*byte);
            }
        }
    }

    fn finish(&mut self, on_line: &mut impl FnMut(&str)) {
        let line = String::from_utf8_lossy(&self.partial).trim_end().to_owned();
        self.partial.clear();
        if line.is_empty() {
            return;
        }
        on_line(&line);
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    fn tail(&self) -> String {
        self.tail.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let env = BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]);
        Command::new("/bin/sh", &env).args(["-c", script])
    }

    async fn run(script: &str, deadline: u64) -> (Result<Output, CommandError>, Vec<String>) {
        let mut lines = Vec::new();
        let cancel = CancellationToken::new();
        let result = sh(script).run(Duration::from_millis(deadline), &cancel, |line| lines.push(line.to_owned())).await;
        (result, lines)
    }

    #[tokio::test]
    async fn output_and_lines_arrive_also_when_they_are_not_utf8() {
        let (result, lines) = run("printf 'out'; printf 'a\\nb\\rc\\377\\n' >&2", 5000).await;
        assert_eq!(result.unwrap().stdout, b"out");
        assert_eq!(lines, ["a", "b", "c\u{fffd}"]);
    }

    #[tokio::test]
    async fn an_exit_code_comes_with_the_last_lines() {
        let (result, _) = run("echo one >&2; exit 3", 5000).await;
        assert!(matches!(result, Err(CommandError::Exit { code: 3, stderr, .. }) if stderr == "one"));
    }

    #[tokio::test]
    async fn a_missing_program_and_a_missing_directory_are_told_apart() {
        let cancel = CancellationToken::new();
        let missing = Command::new("/nowhere/docker", &BTreeMap::new());
        let result = missing.run(Duration::from_secs(1), &cancel, |_| {}).await;
        assert!(matches!(result, Err(CommandError::NotFound { .. })));
        let result = sh("true").dir("/nowhere").run(Duration::from_secs(1), &cancel, |_| {}).await;
        assert!(matches!(result, Err(CommandError::Spawn { .. })));
    }

    #[tokio::test]
    async fn a_child_that_hangs_ends_with_its_grandchildren_at_the_deadline() {
        let pid = tempfile::NamedTempFile::new().unwrap();
        let (result, _) = run(&format!("sleep 300 & echo $! >{}; wait", pid.path().display()), 300).await;
        assert!(matches!(result, Err(CommandError::Timeout { .. })));
        let pid = std::fs::read_to_string(pid.path()).unwrap();
        let status = format!("/proc/{}/status", pid.trim());
        // Whoever inherited it may take a moment to collect it.
        let runs = || std::fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ"));
        while runs() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn a_grandchild_that_keeps_the_pipe_open_does_not_hold_the_answer() {
        let (result, _) = run("sleep 60 & exit 0", 30_000).await;
        assert!(result.is_ok(), "it would have been ended at its deadline");
    }

    #[tokio::test]
    async fn a_daemon_that_keeps_the_pipe_open_does_not_hold_the_end_of_a_child_that_was_killed() {
        // It ignores the request to end, and its child is in a session of its own.
        let (result, _) = run("trap '' TERM; setsid sleep 60 & wait; sleep 60", 300).await;
        assert!(matches!(result, Err(CommandError::Timeout { .. })));
    }

    #[tokio::test]
    async fn who_outlives_its_caller_goes_on_to_talk() {
        let dir = tempfile::tempdir().unwrap();
        let (go, done) = (dir.path().join("go"), dir.path().join("done"));
        let script = format!(
            "echo one >&2; until test -e {}; do sleep 0.01; done; echo two >&2; echo three; echo end >{}",
            go.display(),
            done.display()
        );
        let cancel = CancellationToken::new();
        let mut lines = Vec::new();
        let run = sh(&script).outlives_its_caller().run(Duration::from_secs(2), &cancel, |line| {
            lines.push(line.to_owned());
        });
        assert!(matches!(run.await, Err(CommandError::Timeout { stderr, .. }) if stderr == "one"));
        assert_eq!(lines, ["one"]);
        std::fs::write(&go, "").unwrap();
        while std::fs::read_to_string(&done).unwrap_or_default() != "end\n" {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (mut lines, deadline) = (Vec::new(), Duration::from_secs(60));
        let run = sh(&script).outlives_its_caller().run(deadline, &cancel, |line| lines.push(line.to_owned()));
        run.await.unwrap();
        assert_eq!(lines, ["one", "two"]);
    }

    #[tokio::test]
    async fn cancelling_ends_the_child() {
        let cancel = CancellationToken::new();
        let canceller = cancel.clone();
        let run = sh("sleep 300").run(Duration::from_secs(60), &cancel, |_| {});
        let (result, ()) = tokio::join!(run, async move { canceller.cancel() });
        assert!(matches!(result, Err(CommandError::Cancelled { .. })));
    }

    #[tokio::test]
    async fn the_environment_is_cleared_but_for_what_is_given() {
        let (result, _) = run("env | sort | cut -d= -f1 | grep -v -e '^_$' -e SHLVL -e PWD | tr '\\n' ' '", 5000).await;
        assert_eq!(String::from_utf8_lossy(&result.unwrap().stdout), "PATH ");
    }
}
