//! Ring scripts: every scenario runs once, through the command that people use, and several tests read what it said.
#![cfg(test)]

mod reached;
mod runs;
mod transcripts;
