//! Objects for the tests of this folder.
