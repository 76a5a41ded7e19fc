//! What the console can look like: every screen in every state that it can be in.

use squall::app::event::{Event, Loaded};
use squall::app::look::{Charset, ThemeName};
use squall::app::popup::Popup;
use squall::app::store::{Batch, Delta, Link, Topic};
use squall::app::testing::{Console, after_noon, pod};
use squall::report::{Happening, Trouble};

/// A screen, and what it looks like in each state.
pub(crate) struct Page {
    /// Its name, as in the names of the snapshots.
    pub(crate) name: &'static str,
    /// Its states.
    pub(crate) scenes: Vec<(&'static str, Console)>,
}

/// A console to which this happened.
fn with(mut console: Console, happens: impl FnOnce(&mut Console)) -> Console {
    happens(&mut console);
    console
}

/// Nothing was heard yet.
fn unknown() -> Console {
    Console::new()
}

/// Everything is known, and there is nothing.
fn nothing() -> Console {
    with(Console::new(), |console| {
        let kinds = ["NetworkChaos", "PodChaos"].map(|kind| Topic::Experiments(kind.to_owned()));
        for topic in [Topic::Pods, Topic::Nodes, Topic::Injections, Topic::Halts].into_iter().chain(kinds) {
            console.happen(Event::Linked { topic, link: Link::Live });
        }
    })
}

/// The tutorial's delay is on, next to pods of the system.
fn normal() -> Console {
    with(Console::playground(), |console| {
        let system = ["squall-controller-6d5f9c7b8-2xk4q", "squall-daemon-7hvwm"];
        let upserted = system
            .iter()
            .map(|name| {
                let mut row = squall::app::store::PodRow::clone(&pod(name, "squall", "machine1"));
                "squall-system".clone_into(&mut row.namespace);
                std::sync::Arc::new(row)
            })
            .collect();
        console.change(Batch { pods: Delta { upserted, ..Delta::default() }, ..Batch::default() });
        console.with_delay();
    })
}

fn failing() -> Console {
    with(normal(), |console| {
        console.with_failures();
    })
}

fn stale() -> Console {
    with(normal(), |console| {
        console.lost(12);
    })
}

fn states(keys: &str) -> Vec<(&'static str, Console)> {
    let all = vec![
        ("unknown", unknown()),
        ("nothing", nothing()),
        ("normal", normal()),
        ("failing", failing()),
        ("stale", stale()),
    ];
    all.into_iter()
        .map(|(name, console)| {
            let pressed = with(console, |console| {
                console.press(keys);
            });
            (name, pressed)
        })
        .collect()
}

/// What happened to the delay.
fn timeline(failed: bool) -> Loaded {
    let happening = |seconds, kind: &str, reason: &str, message: &str, count| Happening {
        time: after_noon(seconds),
        kind: kind.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        count,
    };
    let mut happenings = vec![
        happening(-11, "Normal", "Selected", "selected 2 pods, and 1 at the other end", 1),
        happening(
            -10,
            "Normal",
            "Applied",
            "injected into default/server-app-698785988d-6xszv on machine2",
            1,
        ),
        happening(
            -10,
            "Normal",
            "Applied",
            "injected into default/server-app-698785988d-bnq84 on machine3",
            1,
        ),
    ];
    if failed {
        let message =
            "cannot inject into default/mongo-596c7bf7bd-tkwpx: the kernel of machine3 has no sch_netem";
        happenings.push(happening(-2, "Warning", "Failed", message, 4));
    }
    Loaded::Timeline {
        of: squall::app::effect::ObjectRef {
            kind: "NetworkChaos".to_owned(),
            namespace: Some("default".to_owned()),
            name: "network-delay".to_owned(),
            uid: "uid-delay".to_owned(),
        },
        happenings,
    }
}

fn run() -> Page {
    let open = |console: Console, failed: bool| {
        with(console, |console| {
            console.press("2 / n e t w o r k enter enter").answer(Ok(timeline(failed)));
        })
    };
    let waiting = with(Console::playground(), |console| {
        let mut waiting = squall::app::testing::delay();
        if let Some(object) = waiting.as_object_mut() {
            object.remove("status");
        }
        console.experiment(&waiting).press("2 enter");
    });
    let invalid = with(failing(), |console| {
        console.press("2 / k i l l enter enter");
    });
    let gone = with(open(normal(), false), |console| {
        let removed = vec!["uid-delay".to_owned()];
        let delta = Delta { removed, ..Delta::default() };
        console
            .change(Batch { experiments: [("NetworkChaos".to_owned(), delta)].into(), ..Batch::default() });
    });
    let no_events = with(normal(), |console| {
        console.press("2 enter").answer(Err(forbidden("cannot list events in default")));
    });
    Page {
        name: "run",
        scenes: vec![
            (
                "empty",
                with(normal(), |console| {
                    console.state.screen = squall::app::screens::Screen::Run;
                }),
            ),
            ("waiting", waiting),
            ("normal", open(normal(), false)),
            ("failing", open(failing(), true)),
            ("invalid", invalid),
            ("no events", no_events),
            ("gone", gone),
            (
                "stale",
                with(open(normal(), false), |console| {
                    console.lost(12);
                }),
            ),
        ],
    }
}

fn forbidden(what: &str) -> Trouble {
    Trouble {
        what: what.to_owned(),
        why: Some("forbidden: User \"ann\" cannot do that here".to_owned()),
        cure: Some("choose another user with --context".to_owned()),
    }
}

const YAML: &str = "\
# As the API server has it.
apiVersion: v1
kind: Pod
metadata:
  creationTimestamp: \"2026-01-01T11:55:00Z\"
  labels:
    app: mongo
    pod-template-hash: 596c7bf7bd
  name: mongo-596c7bf7bd-tkwpx
  namespace: default
spec:
  containers:
  - command: [\"mongod\", \"--bind_ip_all\", \"--wiredTigerCacheSizeGB\", \"0.25\", \"--setParameter\", \"diagnosticDataCollectionEnabled=false\"]
    image: mongo:7.0
    name: mongo
    ports:
    - containerPort: 27017
      protocol: TCP
  nodeName: machine3
  restartPolicy: Always
status:
  phase: Running
  podIP: 10.244.1.7
";

fn pager() -> Page {
    let loaded = |keys: &str, outcome: Result<Loaded, Trouble>| {
        with(normal(), |console| {
            console.press(keys).answer(outcome);
        })
    };
    let text = || Ok(Loaded::Text(YAML.to_owned()));
    Page {
        name: "pager",
        scenes: vec![
            (
                "loading",
                with(normal(), |console| {
                    console.press("y");
                }),
            ),
            ("nothing", loaded("y", Ok(Loaded::Text(String::new())))),
            ("yaml", loaded("y", text())),
            (
                "searched",
                with(loaded("y", text()), |console| {
                    console.press("/").type_text("mongo").press("enter");
                }),
            ),
            (
                "wrapped",
                with(loaded("y", text()), |console| {
                    console.press("w");
                }),
            ),
            ("failed", loaded("y", Err(forbidden("cannot get pods/mongo-596c7bf7bd-tkwpx")))),
        ],
    }
}

fn editor() -> Page {
    let template = |keys: &str| {
        with(normal(), |console| {
            console.press("3 enter").press(keys);
        })
    };
    let previewed = |keys: &str, refused: bool| {
        with(template(""), |console| {
            console.wait(1_000).answer(Ok(plan(3, refused))).press(keys);
        })
    };
    let at = |line: &str, keys: &str| {
        with(previewed("", false), |console| {
            let lines = console.state.editor.buffer.lines();
            let row = lines.iter().position(|text| text.starts_with(line)).unwrap_or(0);
            console.state.editor.buffer.jump((row, 0));
            console.press("end").press(keys);
        })
    };
    let wide = with(normal(), |console| {
        console.press("5").happen(Event::Pasted(
            "# 世界 größe, in a line that is longer than any terminal of the usual width is, so that it must be scrolled to be seen whole\n\
             kind: NetworkChaos\nmetadata:\n  name: \"世界\"\nspec:\n  action: delay\n  mode: [\n".to_owned(),
        ));
        console.press("up up up up up up up end");
    });
    let unreachable = with(template(""), |console| {
        console.wait(1_000).answer(Err(forbidden("cannot list pods")));
    });
    let replaced = with(template("x esc 3 G enter"), |_| ());
    Page {
        name: "editor",
        scenes: vec![
            (
                "empty",
                with(normal(), |console| {
                    console.press("5");
                }),
            ),
            ("template", template("")),
            ("previewed", previewed("pagedown", false)),
            ("resting", previewed("esc", false)),
            ("refused", previewed("", true)),
            ("broken", at("  mode:", "backspace y")),
            ("offer", at("  mode:", "backspace backspace backspace tab down")),
            ("keys", at("  action:", "enter tab esc ctrl-space")),
            ("marked", at("  mode:", "alt-v up up")),
            ("searched", at("spec:", "ctrl-f m o n g o enter")),
            ("form", at("  duration:", "f2 j j j j")),
            ("field", at("  duration:", "f2 j j j j j j j j j enter")),
            ("wide", wide),
            ("unreachable", unreachable),
            ("replaced", replaced),
        ],
    }
}

fn logs() -> Page {
    let lines = || {
        (1..=50)
            .map(|number| format!("2026-01-01T11:59:{number:02}Z GET /movies/{number} 200 0.00{number:02} s"))
            .collect::<Vec<_>>()
    };
    let open = |outcome| {
        with(normal(), |console| {
            console.press("j l").answer(outcome);
        })
    };
    Page {
        name: "logs",
        scenes: vec![
            ("following", open(Ok(Loaded::Lines(lines())))),
            (
                "standing",
                with(open(Ok(Loaded::Lines(lines()))), |console| {
                    console.press("k k");
                }),
            ),
            ("nothing", open(Ok(Loaded::Lines(Vec::new())))),
            (
                "broken",
                with(open(Ok(Loaded::Lines(lines()))), |console| {
                    console.answer(Err(Trouble::new("the connection broke").cure("ctrl-r asks again")));
                }),
            ),
        ],
    }
}

/// Every screen.
pub(crate) fn pages() -> Vec<Page> {
    vec![
        Page { name: "cluster", scenes: cluster() },
        Page { name: "experiments", scenes: states("2") },
        Page {
            name: "templates",
            scenes: vec![
                (
                    "normal",
                    with(normal(), |console| {
                        console.press("3");
                    }),
                ),
                (
                    "filtered away",
                    with(normal(), |console| {
                        console.press("3 /").type_text("nothing-like-it").press("enter");
                    }),
                ),
            ],
        },
        editor(),
        run(),
        pager(),
        logs(),
        Page {
            name: "help",
            scenes: vec![
                (
                    "cluster",
                    with(normal(), |console| {
                        console.press("?");
                    }),
                ),
                (
                    "run",
                    with(normal(), |console| {
                        console.press("2 enter ? G");
                    }),
                ),
                (
                    "searched",
                    with(normal(), |console| {
                        console.press("? /").type_text("stop");
                    }),
                ),
            ],
        },
        Page { name: "steady_state", scenes: steady_state() },
        Page { name: "settings", scenes: settings() },
        Page { name: "errors", scenes: errors() },
        popups(),
        banners(),
    ]
}

fn cluster() -> Vec<(&'static str, Console)> {
    let mut cluster = states("");
    cluster.push((
        "nodes",
        with(normal(), |console| {
            console.press("tab j");
        }),
    ));
    cluster.push((
        "one node",
        with(normal(), |console| {
            console.press("tab j enter");
        }),
    ));
    cluster.push((
        "filtered away",
        with(normal(), |console| {
            console.press("/").type_text("nothing-like-it").press("enter");
        }),
    ));
    cluster
}

fn steady_state() -> Vec<(&'static str, Console)> {
    let measured = |keys: &str| {
        with(normal(), |console| {
            console.with_delay().with_measurements(90).press("4").press(keys);
        })
    };
    let mut scenes = vec![
        (
            "no dashboard",
            with(normal(), |console| {
                console.press("4 D j j j j j enter");
            }),
        ),
        ("while a fault is on", measured("j")),
        ("one panel", measured("j enter j j j j")),
        ("memory, half a minute", measured("j j h enter z z")),
        ("in the past", measured("z z [")),
        ("choosing a dashboard", measured("D")),
        ("details", measured("d")),
    ];
    scenes.push((
        "a pod that does not answer, in ASCII without colours",
        with(normal(), |console| {
            console.with_delay().with_measurements(90);
            (console.state.look.charset, console.state.look.theme) = (Charset::Ascii, ThemeName::Mono);
            let why = "nothing listens on port 8080";
            for target in console.state.measure.targets.iter_mut().take(1) {
                target.answer = Err(why.to_owned());
            }
            console.press("4 enter");
        }),
    ));
    scenes
}

fn settings() -> Vec<(&'static str, Console)> {
    let mut settings = vec![(
        "normal",
        with(normal(), |console| {
            console.press("7");
        }),
    )];
    settings.extend([ThemeName::Light, ThemeName::HighContrast, ThemeName::ColourBlind].map(|theme| {
        (
            theme.name(),
            with(normal(), |console| {
                console.state.look.theme = theme;
                console.press("7");
            }),
        )
    }));
    settings
}

fn errors() -> Vec<(&'static str, Console)> {
    vec![
        (
            "nothing",
            with(normal(), |console| {
                console.press("6");
            }),
        ),
        (
            "several",
            with(failing(), |console| {
                console.happen(Event::Noted {
                    severity: squall::app::notice::Severity::Good,
                    trouble: Trouble::new("networkchaos.chaos-mesh.org/network-delay paused"),
                });
                console.wait(90_000);
                let trouble = Trouble::new("there is no command \"foo\"").cure("? lists them; Tab completes");
                console.happen(Event::Noted { severity: squall::app::notice::Severity::Error, trouble });
                console.press("esc 6");
            }),
        ),
    ]
}

/// A report of whom an experiment would hit.
fn plan(targets: usize, refused: bool) -> Loaded {
    let on_target = |number: usize| {
        serde_json::json!({"pod": format!("default/server-app-698785988d-{number:05}"),
        "selectorKey": ".", "addresses": [], "changes": []})
    };
    let targets: Vec<_> = (1..=targets).map(on_target).collect();
    let report = serde_json::json!({
        "experiment": "networkchaos.chaos-mesh.org/network-delay", "namespace": "default", "action": "delay",
        "verdict": if refused { "refused" } else { "runs" }, "oneShot": false, "duration": "1m",
        "nodes": [{"node": "machine2", "targets": targets}], "excluded": [],
        "conflicts": [{"experiment": "NetworkChaos default/partition", "pods": ["default/mongo-1"],
            "what": "both act on them"}],
        "effect": ["every answer takes at least 150ms longer, give or take 10ms"],
        "warnings": ["the liveness probe of server-app times out after 1s: the kubelet may restart it"],
        "problems": if refused { serde_json::json!([{"path": "spec.delay.latency",
            "what": "\"150\" is no duration", "cure": "write a unit: \"150ms\""}]) } else { serde_json::json!([]) },
    });
    let report = serde_json::from_value(report);
    assert!(report.is_ok(), "{:?}", report.err());
    Loaded::Plan { text: String::new(), reports: report.into_iter().collect() }
}

/// An experiment whose stop the API server refuses.
fn refused_stop() -> Console {
    with(normal(), |console| {
        console.press("2 enter S enter");
        let deed = console.effects.iter().find_map(|effect| match effect {
            squall::app::effect::Effect::Do(deed) => Some(deed.clone()),
            _ => None,
        });
        let outcome = Err(forbidden("cannot delete networkchaos.chaos-mesh.org/network-delay"));
        console.happen(Event::Done { deed: deed.unwrap_or(squall::app::effect::Deed::Release), outcome });
    })
}

fn popups() -> Page {
    let on_run = |keys: &str| {
        with(normal(), |console| {
            console.press("2 enter").press(keys);
        })
    };
    let launch = |targets, refused| {
        with(normal(), |console| {
            console.press("3 L").answer(Ok(plan(targets, refused)));
        })
    };
    let typed = with(launch(24, false), |console| {
        console.type_text("network-de");
        assert!(matches!(console.state.popup, Some(Popup::Confirm(_))));
    });
    Page {
        name: "popups",
        scenes: vec![
            ("launch", launch(3, false)),
            ("launch refused", launch(3, true)),
            ("typed", typed),
            (
                "waiting",
                with(normal(), |console| {
                    console.press("3 L");
                }),
            ),
            ("stop", on_run("S")),
            ("turn", on_run("+ +")),
            ("halt", on_run("!")),
            (
                "halt nothing",
                with(Console::playground(), |console| {
                    console.press("!");
                }),
            ),
            (
                "release",
                with(normal(), |console| {
                    console.halted().press("g R");
                }),
            ),
            ("failed", refused_stop()),
            (
                "namespace",
                with(normal(), |console| {
                    console.press("n j");
                }),
            ),
            (
                "which key",
                with(normal(), |console| {
                    console.press("g").wait(1_000);
                }),
            ),
            (
                "filter",
                with(normal(), |console| {
                    console.press("/").type_text("mon");
                }),
            ),
            (
                "command",
                with(normal(), |console| {
                    console.press(":").type_text("exp");
                }),
            ),
            (
                "toast",
                with(normal(), |console| {
                    console.happen(Event::Noted {
                        severity: squall::app::notice::Severity::Error,
                        trouble: forbidden("cannot pause networkchaos.chaos-mesh.org/network-delay"),
                    });
                }),
            ),
        ],
    }
}

fn banners() -> Page {
    let looking = |theme, charset| {
        with(failing(), |console| {
            console.halted().state.look.theme = theme;
            console.state.look.charset = charset;
        })
    };
    Page {
        name: "banners",
        scenes: vec![
            (
                "halted",
                with(normal(), |console| {
                    console.halted();
                }),
            ),
            (
                "halted and stale",
                with(stale(), |console| {
                    console.halted();
                }),
            ),
            (
                "read-only",
                with(normal(), |console| {
                    console.state.read_only = true;
                }),
            ),
            (
                "frozen",
                with(normal(), |console| {
                    console.press("f").wait(5_000);
                }),
            ),
            (
                "one namespace, a long world",
                with(normal(), |console| {
                    "context arn:aws:eks:eu-central-1:123456789012:cluster/production"
                        .clone_into(&mut console.state.world.name);
                    console.state.namespace = Some("payments-and-billing-production".to_owned());
                    console.press("2 1");
                }),
            ),
            ("mono, ascii", looking(ThemeName::Mono, Charset::Ascii)),
            ("light", looking(ThemeName::Light, Charset::Utf8)),
        ],
    }
}
