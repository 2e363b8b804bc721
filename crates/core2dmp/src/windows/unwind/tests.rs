//! Tests of walks and unwind data.
