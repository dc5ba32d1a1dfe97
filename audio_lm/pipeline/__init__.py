"""The only place where configurations become objects: vocabulary, model, data, trainer; all below takes plain arguments."""
