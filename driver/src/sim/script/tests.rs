use proptest::prelude::*;

use super::*;

#[test]
fn the_example_of_the_documentation_is_understood() {
    let script: Script = "unplug@2s+1s;garbage@3s".parse().unwrap();
    assert_eq!(
        script.events,
        [
            ScriptEvent {
                action: Action::Unplug,
                when: When::Time(Duration::from_secs(2)),
                lasts: Some(Duration::from_secs(1)),
            },
            ScriptEvent {
                action: Action::Garbage { bytes: 16 },
                when: When::Time(Duration::from_secs(3)),
                lasts: None,
            },
        ]
    );
    assert_eq!("".parse(), Ok(Script::default()));
}

#[test]
fn every_action_of_the_table_is_understood() {
    for (word, takes_time, value) in WORDS {
        let value = match value {
            "=CELSIUS" => "=60",
            "=CHAIN.CHIP" => "=1.15",
            _ => "",
        };
        let text = format!("{word}{value}@1m");
        let script: Script = text.parse().unwrap();
        let again: Script = script.to_string().parse().unwrap();
        assert_eq!(again, script, "{text}");
        assert_eq!(format!("{text}+1s").parse::<Script>().is_ok(), takes_time);
    }
}

#[test]
fn a_wrong_script_gets_an_error_that_names_event_and_reason() {
    for (text, why) in [
        ("unplug", "script event \"unplug\": no \"@\""),
        ("unplug@2", "\"2\" is no time; write it as 500ms, 2s or 1m"),
        ("unplug@2s+", "\"\" is no time"),
        ("unplug=3@2s", "\"unplug\" takes no value"),
        (
            "unplug@2s;boom@3s",
            "script event \"boom@3s\": unknown action \"boom\"; there are unplug, ",
        ),
        ("garbage=0@1s", "\"0\" is no whole number from 1 to 512"),
        ("garbage@1s+2s", "\"garbage\" takes no \"+duration\""),
        ("stall=up@1s", "a stall is \"out\" or \"in\", not \"up\""),
        ("heat@1s", "\"heat\" needs a temperature"),
        ("heat=121@1s", "\"121\" is no whole number from 0 to 120"),
        ("dead-chip=2.0@1s", "\"2\" is no whole number from 0 to 1"),
        ("dead-chip=0@1s", "needs a chain and a chip"),
        ("unplug@out:+4", "is no time"),
        ("unplug@1441m", "\"1441\" is no whole number from 0 to 1440"),
        ("unplug@1s;", "script event \"\": no \"@\""),
    ] {
        let error = text.parse::<Script>().unwrap_err().to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
    let long = ["unplug@1s"; SCRIPT_EVENTS_MAX + 1].join(";");
    assert!(long.parse::<Script>().is_err());
    assert!(long[..long.len() - 10].parse::<Script>().is_ok());
}

proptest! {
    #[test]
    fn any_text_is_refused_or_understood(text in "[a-z0-9=@+;:.\\-]{0,60}") {
        if let Ok(script) = text.parse::<Script>() {
            prop_assert_eq!(script.to_string().parse::<Script>(), Ok(script));
        }
    }
}
