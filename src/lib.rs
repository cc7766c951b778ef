//! A map of the layers; no logic.
#![allow(dead_code)]
