//! The console's state and how it changes. No input, no output, no drawing, no clock.
//!
//! ```text
//! keys, mouse, resize, tick ─┐                                   ┌► effects ► tasks of the loop
//! watches, results ──────────┴► bounded queue ► update(&mut State, Event, now)
//!                                                               └► ui::draw(&State, &Theme)
//! ```
//!
//! * [`event`] – everything that can happen, in one order; [`effect`] – what is asked of the outside.
//! * [`state`] – everything that the console knows; [`store`] – the part of it that is the cluster's.
//! * [`keymap`] and [`commands`] – the tables of keys and commands; [`action`] – what they do.
//! * [`screens`] – what each screen remembers; [`questions`] – what is asked before something can harm.
//! * [`editor`] – the text that is being edited, and what is worked out from it.
//! * [`geometry`] – where things are on the screen, for the view and for scrolling and clicks.
//! * [`rights`] – what the API server lets this user do.
//! * [`recorder`] – what happened, to be looked at again.

pub mod action;
pub mod commands;
pub mod editor;
pub mod effect;
pub mod event;
pub mod filter;
pub mod geometry;
pub mod input;
pub mod key;
pub mod keymap;
pub mod list;
pub mod look;
pub mod measure;
pub mod notice;
pub mod popup;
pub mod questions;
pub mod recorder;
pub mod rights;
pub mod screens;
pub mod settings;
pub mod state;
pub mod store;
pub mod templates;
#[doc(hidden)]
pub mod testing;
pub mod turn;
mod update;
pub mod world;

pub use update::{completion, update};
