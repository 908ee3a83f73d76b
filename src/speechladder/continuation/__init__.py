"""Every rung goes on speaking: prompts, generation, voice, hearing, judgement."""
