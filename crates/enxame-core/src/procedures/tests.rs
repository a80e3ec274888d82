//! Procedures, over three managers.

use super::*;
