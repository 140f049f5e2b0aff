"""DEFT-LLM: emotion, AUs and an explanation based on measured motion.

Importing the package loads nothing else; import the modules that you need
(``deft_llm.media.video``, ``deft_llm.motion.measure``, ``deft_llm.deft`` ...).
"""

__version__ = "0.1.0"
