"""Makes a small BPE tokenizer without any download: guidellm needs one for synthetic prompts."""
import random
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

rng = random.Random(7)
syllables = [c + v for c in "bdfghklmnprstvz" for v in "aeiou"]
words = ["".join(rng.choice(syllables) for _ in range(rng.randint(1, 4))) for _ in range(4000)]
text = [" ".join(rng.choice(words) for _ in range(12)) + "." for _ in range(4000)]

tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(vocab_size=2000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<eos>"])
tokenizer.train_from_iterator(text, trainer)
PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(sys.argv[1])
