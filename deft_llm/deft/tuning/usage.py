"""The part of a model card that shows how the model is used; the tests run its code."""

from __future__ import annotations

_USAGE = """## Use

With the package `deft-llm` installed:

```python
import deft_llm  # lets transformers' Auto classes know the model
from deft_llm import resources
from transformers import AutoModelForImageTextToText, AutoProcessor

folder = {folder}
clip = resources.clips() / "01_surprise.mp4"  # or a video of your own
model = AutoModelForImageTextToText.from_pretrained(folder)
processor = AutoProcessor.from_pretrained(folder)

messages = [
    {
        "role": "user",
        "content": [
            {"type": "video", "path": clip},
            {"type": "text", "text": "Which action units are active?"},
        ],
    }
]
inputs = processor.apply_chat_template(
    messages, add_generation_prompt=True, tokenize=True, return_dict=True
).to(model.device)
written = model.generate(**inputs, max_new_tokens=200)
answer = written[0, inputs["input_ids"].shape[1] :]
print(processor.decode(answer, skip_special_tokens=True))
```

- The processor reads the video and measures its motion, which takes a few seconds. A clip may also
  be a folder of frames, a `Clip`, a `Measurement` or its features; several clips are several parts.
- `pipeline("image-text-to-text", model=folder)` takes such messages, and only such messages:
  `pipe(text=messages, return_full_text=False)`.
- What `generate` writes is not checked. `deft-llm explain` and
  `deft_llm.deft.inference.explainer.Explainer` hold every statement against the measured motion,
  and name no emotion when nothing moved.
- vLLM, TGI, Ollama and llama.cpp do not know this architecture; `deft-llm serve --checkpoint
  FOLDER` answers OpenAI's chat API in their place.
"""


def usage(folder: str) -> str:
    """The section in Markdown.

    Args:
        folder: Python expression for the model's folder, with a comment.
    """
    return _USAGE.replace("{folder}", folder)
