"""DEFT-LLM: the emotion, the action units and an explanation bound to measured motion.

Importing the package costs nothing; import the part that is needed
(``deft_llm.media.video``, ``deft_llm.motion.measure``, ``deft_llm.deft`` ...).
"""

__version__ = "0.1.0"
