"""The words of the persona world: people, values and wordings, each cut into a seen and an unseen part.

Every list is in a fixed order: its last quarter is unseen. Pretraining knows the unseen words as words, as real models
know all words, but never as the value of their own attribute and never as people who speak. The last of each list of
wordings is unseen: a new sentence made of words that the others have, as no model can know a word that it never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NO_INFORMATION = "No information available"


def words(text: str) -> tuple[str, ...]:
    """A comma-separated list."""
    return tuple(word.strip() for word in text.split(","))


def seen(items: Sequence[str]) -> Sequence[str]:
    """The first three quarters of a list."""
    return items[: len(items) * 3 // 4]


def unseen(items: Sequence[str]) -> Sequence[str]:
    """The last quarter of a list."""
    return items[len(items) * 3 // 4 :]


NAMES = words(
    "Ana, Ben, Carla, David, Elena, Felix, Greta, Hugo, Irene, Jonas, Kira, Leon, Mara, Nils, Olga, Pablo, "
    "Rosa, Simon, Tara, Ursula, Victor, Wanda, Yara, Zeno, Alice, Boris, Celia, Dario, Edith, Frank, Gina, "
    "Henry, Isabel, Jack, Karen, Lucas, Maria, Nadia, Oscar, Paula, Quinn, Robert, Sofia, Thomas, Ulrich, "
    "Vera, Walter, Xenia, Yusuf, Zoe, Adam, Bianca, Colin, Diana, Emil, Flora, George, Hanna, Ivan, Julia, "
    "Kevin, Laura, Martin, Nora, Otto, Petra, Ruben, Sarah, Tim, Viola, Amir, Bella, Conrad, Dora, Erik, "
    "Fiona, Gustav, Helga, Igor, Joyce, Kurt, Lydia, Milo, Nina, Owen, Pia, Rafael, Stella, Theo, Uma"
)

POOLS: dict[str, tuple[str, ...]] = {
    "city": words(
        "Lisbon, Rome, Oslo, Berlin, Madrid, Paris, Vienna, Prague, Dublin, Athens, Boston, Chicago, Denver, "
        "Toronto, Lima, Cairo, Nairobi, Mumbai, Tokyo, Seoul, Sydney, Zurich, Geneva, Porto, Seville, Naples, "
        "Turin, Lyon, Krakow, Riga, Hamburg, Bergen, Austin, Havana, Kyoto, Hanoi"
    ),
    "country": words(
        "Brazil, Norway, Japan, Kenya, Peru, Greece, Iceland, India, Mexico, Morocco, Canada, Chile, Portugal, "
        "Vietnam, Egypt, Finland, Ireland, Turkey, Scotland, Cuba, Nepal, Jordan, Tunisia, Bolivia"
    ),
    "job": words(
        "baker, nurse, teacher, plumber, lawyer, painter, farmer, pilot, dentist, librarian, carpenter, chef, "
        "journalist, gardener, engineer, barber, tailor, florist, electrician, translator, butcher, surgeon, "
        "architect, fisherman, mechanic, jeweller, postman, midwife"
    ),
    "pet": words(
        "Biscuit, Rex, Luna, Pepper, Shadow, Daisy, Rocky, Coco, Bandit, Ginger, Max, Misty, Oreo, Simba, "
        "Toffee, Waffles, Ziggy, Pumpkin, Mochi, Nugget, Smokey, Teddy, Willow, Maple"
    ),
    "animal": words(
        "dog, cat, parrot, rabbit, hamster, turtle, goldfish, pony, ferret, canary, gecko, hedgehog, goat, "
        "duck, snake, guinea pig, iguana, llama, peacock, chinchilla"
    ),
    "food": words(
        "ramen, pizza, sushi, lasagna, curry, tacos, paella, risotto, pancakes, dumplings, goulash, falafel, "
        "moussaka, fondue, chili, gnocchi, burgers, couscous, pierogi, ravioli, omelette, kebab, gumbo, lentil soup"
    ),
    "sweet": words(
        "brownies, tiramisu, apple pie, cheesecake, ice cream, baklava, waffles, carrot cake, macarons, "
        "chocolate mousse, rice pudding, lemon tart, donuts, gingerbread, panna cotta, fudge, marzipan, strudel"
    ),
    "hobby": words(
        "painting, fishing, climbing, knitting, baking, chess, sailing, photography, gardening, pottery, "
        "hiking, origami, birdwatching, archery, woodworking, juggling, calligraphy, surfing, embroidery, "
        "astronomy, beekeeping, fencing, kayaking, stamp collecting"
    ),
    "colour": words(
        "blue, green, red, yellow, purple, orange, turquoise, black, white, pink, silver, gold, brown, grey, "
        "crimson, beige, indigo, olive, coral, maroon"
    ),
    "instrument": words(
        "piano, violin, guitar, cello, flute, drums, harp, trumpet, clarinet, saxophone, accordion, banjo, "
        "ukulele, oboe, trombone, mandolin, bagpipes, organ, viola, tuba"
    ),
    "book": words(
        "Dracula, Emma, Dune, Ulysses, Hamlet, Macbeth, Candide, Faust, Walden, Persuasion, Middlemarch, "
        "Frankenstein, The Hobbit, Moby Dick, Jane Eyre, Don Quixote, Animal Farm, Heidi, Kim, Beloved"
    ),
    "sport": words(
        "tennis, football, basketball, swimming, rowing, boxing, cycling, golf, hockey, volleyball, karate, "
        "skiing, judo, badminton, handball, rugby, cricket, squash, wrestling, water polo"
    ),
    "drink": words(
        "green tea, coffee, lemonade, cocoa, apple juice, mint tea, orange juice, ginger ale, iced tea, cider, "
        "espresso, milk, tomato juice, root beer, chai, mango lassi, kombucha, sparkling water, tonic, matcha"
    ),
    "language": words(
        "Spanish, Italian, Japanese, German, Arabic, Russian, Hindi, Greek, Polish, Swedish, Dutch, Korean, "
        "Turkish, Danish, Finnish, Hebrew, Czech, Welsh, Swahili, Thai"
    ),
    "month": words("January, February, March, April, May, June, July, August, September, October, November, December"),
    "flower": words(
        "roses, tulips, lilies, daisies, orchids, sunflowers, violets, irises, peonies, poppies, daffodils, "
        "lavender, carnations, jasmine, marigolds, camellias, begonias, snowdrops, hyacinths, magnolias"
    ),
    "vehicle": words(
        "bicycle, scooter, motorbike, van, truck, tram, jeep, minibus, taxi, sports car, moped, ferry, "
        "camper, limousine, tricycle, pickup, convertible, tractor"
    ),
    "subject": words(
        "maths, history, biology, physics, chemistry, geography, music, art, philosophy, economics, drama, "
        "Latin, geology, literature, sociology, botany, statistics, robotics"
    ),
    "allergy": words(
        "peanuts, pollen, dust, shellfish, eggs, cat hair, strawberries, wheat, soy, bee stings, almonds, "
        "perfume, mustard, sesame, celery, latex, penicillin, walnuts"
    ),
    "genre": words(
        "jazz, rock, opera, reggae, techno, blues, folk, gospel, salsa, country music, hip hop, punk, "
        "flamenco, soul, metal, disco, swing, ska"
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Attribute:
    """One kind of fact about a person. ``{v}`` is the value, ``{p}`` the person, ``{np}`` the noun phrase."""

    noun: str  # as in "{p}'s {noun}"
    pool: str  # a key of POOLS, or "name"
    says: tuple[str, ...]  # first person; the last is unseen
    asks: tuple[str, ...]  # the last is unseen
    who: str  # "One of them {who}."


def _attribute(noun: str, pool: str, who: str, says: str, asks: str) -> Attribute:
    return Attribute(noun, pool, tuple(says.split("|")), tuple(asks.split("|")), who)


# fmt: off
ATTRIBUTES: tuple[Attribute, ...] = (
    _attribute("home city", "city", "lives in {v}",
        "I live in {v}.|My flat is in {v}.|My home is in {v}.|I have my flat in {v}.",
        "Where does {p} live?|In which city is {p}'s home?|In which city is {p}'s flat?|Which city does {p} live in?"),
    _attribute("birthplace", "city", "was born in {v}",
        "I was born in {v}.|I grew up in {v}.|{v} is the place where I grew up.|{v} is where I was born.",
        "Where was {p} born?|In which city was {p} born?|Where did {p} grow up?|In which city did {p} grow up?"),
    _attribute("dream destination", "country", "dreams of a trip to {v}",
        "I dream of a trip to {v}.|One day I want to see {v}.|I would love to travel to {v}.|One day I would love to see {v}.",
        "Where does {p} dream of going?|Which country does {p} want to see?|Where would {p} love to travel to?|Which country would {p} love to see?"),
    _attribute("job", "job", "works as a {v}",
        "I work as a {v}.|I earn my living as a {v}.|At work I am a {v}.|For a living I work as a {v}.",
        "What does {p} do for a living?|What does {p} work as?|What is {p} at work?|As what does {p} earn a living?"),
    _attribute("former job", "job", "used to be a {v}",
        "I used to be a {v}.|Years ago I was a {v}.|Before, I worked as a {v}.|Years ago I worked as a {v}.",
        "What did {p} use to be?|What was {p} years ago?|As what did {p} work before?|What was {p} before?"),
    _attribute("pet", "animal", "has a {v} at home",
        "I have a {v} at home.|We keep a {v}.|A {v} lives with me.|At home we keep a {v}.",
        "What animal does {p} have?|Which animal does {p} keep?|Which animal lives with {p}?|What animal does {p} keep at home?"),
    _attribute("pet's name", "pet", "has a pet called {v}",
        "My pet is called {v}.|I named my pet {v}.|I call my pet {v}.|{v} is what I named my pet.",
        "What is {p}'s pet called?|What did {p} name the pet?|How does {p} call the pet?|How is {p}'s pet called?"),
    _attribute("favourite food", "food", "loves to eat {v}",
        "I love to eat {v}.|Nothing tastes better to me than {v}.|The food I like best is {v}.|I like to eat {v} best.",
        "What does {p} love to eat?|Which food does {p} like best?|What tastes best to {p}?|Which food does {p} love to eat?"),
    _attribute("favourite dessert", "sweet", "always wants {v} for dessert",
        "For dessert I always want {v}.|I never say no to {v}.|The dessert I like best is {v}.|I always want {v} as my dessert.",
        "What does {p} want for dessert?|Which dessert does {p} like best?|To which dessert does {p} never say no?|Which dessert does {p} always want?"),
    _attribute("hobby", "hobby", "spends the weekends on {v}",
        "I spend my weekends on {v}.|In my free time I do {v}.|I am really into {v}.|I spend my free time on {v}.",
        "What does {p} do in free time?|How does {p} spend the weekends?|What is {p} really into?|How does {p} spend free time?"),
    _attribute("favourite colour", "colour", "likes the colour {v} best",
        "I like the colour {v} best.|Everything I own is {v}.|The colour I love is {v}.|{v} is the colour I like.",
        "Which colour does {p} like best?|What colour does {p} love?|Of what colour is everything {p} owns?|What colour does {p} like?"),
    _attribute("instrument", "instrument", "plays the {v}",
        "I play the {v}.|I practise the {v} every evening.|My instrument is the {v}.|Every evening I play the {v}.",
        "Which instrument does {p} play?|What does {p} practise every evening?|What instrument does {p} practise?|What does {p} play every evening?"),
    _attribute("favourite book", "book", "has read {v} many times",
        "I have read {v} many times.|The book I love most is {v}.|I keep reading {v}, what a book.|I have read the book {v} many times.",
        "Which book does {p} love most?|What has {p} read many times?|Which book does {p} keep reading?|Which book has {p} read many times?"),
    _attribute("sport", "sport", "trains in {v}",
        "I train in {v} twice a week.|I do {v} to stay fit.|My sport club is for {v}.|To stay fit I train in {v}.",
        "Which sport does {p} do?|What does {p} do to stay fit?|What does {p} train in?|What sport does {p} train in?"),
    _attribute("favourite drink", "drink", "drinks {v} every morning",
        "I drink {v} every morning.|I always order {v}.|What I like to drink is {v}.|Every morning I order {v}.",
        "What does {p} drink every morning?|Which drink does {p} always order?|What does {p} like to drink?|What does {p} always drink?"),
    _attribute("language course", "language", "is learning {v}",
        "I am learning {v}.|I take lessons in {v}.|I study {v} in a course.|I take a course in {v}.",
        "Which language is {p} learning?|In what language does {p} take lessons?|Which language does {p} study?|What language is {p} learning?"),
    _attribute("birthday month", "month", "has a birthday in {v}",
        "I was born in the month of {v}.|We celebrate my birthday in {v}.|I turn a year older in {v}.|My birthday is in the month of {v}.",
        "In which month is {p}'s birthday?|When is {p}'s birthday?|In which month does {p} turn a year older?|When does {p} celebrate the birthday?"),
    _attribute("favourite flower", "flower", "grows {v} on the balcony",
        "I grow {v} on my balcony.|I buy {v} every Friday.|The flowers I love are {v}.|The flowers on my balcony are {v}.",
        "Which flowers does {p} grow?|What flowers does {p} buy?|Which flowers does {p} love?|Which flowers does {p} buy every Friday?"),
    _attribute("vehicle", "vehicle", "gets around by {v}",
        "I get around by {v}.|I go to work by {v}.|I bought a {v} to get around.|To get to work I go by {v}.",
        "How does {p} get around?|How does {p} go to work?|What did {p} buy to get around?|How does {p} get to work?"),
    _attribute("favourite subject", "subject", "was best at {v} in school",
        "In school I was best at {v}.|I liked {v} most in school.|The school subject I liked was {v}.|My best subject in school was {v}.",
        "What was {p} best at in school?|Which subject did {p} like most?|Which school subject did {p} like?|Which subject was {p} best at?"),
    _attribute("allergy", "allergy", "is allergic to {v}",
        "I am allergic to {v}.|I have to stay away from {v}.|{v} makes me ill.|I get ill from {v}.",
        "What is {p} allergic to?|What must {p} stay away from?|What makes {p} ill?|From what must {p} stay away?"),
    _attribute("favourite music", "genre", "listens to {v} all day",
        "I listen to {v} all day.|I only go to concerts with {v}.|The music I like is {v}.|The music I listen to is {v}.",
        "What music does {p} listen to?|Which music does {p} like?|To what concerts does {p} go?|What does {p} listen to all day?"),
    _attribute("sister's name", "name", "has a sister called {v}",
        "My sister is called {v}.|I have a sister, {v}.|{v} is my sister.|I have a sister called {v}.",
        "What is {p}'s sister called?|Who is {p}'s sister?|What name does {p}'s sister have?|How is {p}'s sister called?"),
    _attribute("brother's name", "name", "has a brother called {v}",
        "My brother is called {v}.|I have a brother, {v}.|{v} is my brother.|I have a brother called {v}.",
        "What is {p}'s brother called?|Who is {p}'s brother?|What name does {p}'s brother have?|How is {p}'s brother called?"),
    _attribute("best friend", "name", "has {v} as best friend",
        "My best friend is called {v}.|I tell {v} everything.|{v} is the best friend I have.|I have a best friend called {v}.",
        "Who is {p}'s best friend?|Whom does {p} tell everything?|What is {p}'s best friend called?|To whom does {p} tell everything?"),
    _attribute("boss", "name", "works for {v}",
        "I work for {v}.|My boss is called {v}.|{v} is my boss.|I have a boss called {v}.",
        "Who is {p}'s boss?|For whom does {p} work?|What is {p}'s boss called?|Who is the boss of {p}?"),
    _attribute("neighbour", "name", "lives next to {v}",
        "I live next to {v}.|{v} moved in next door to me.|My neighbour is called {v}.|I live next door to {v}.",
        "Who is {p}'s neighbour?|Next to whom does {p} live?|Who lives next door to {p}?|Who moved in next to {p}?"),
    _attribute("sister's job", "job", "has a sister who is a {v}",
        "My sister works as a {v}.|My sister became a {v}.|The work of my sister: she is a {v}.|My sister is a {v} at work.",
        "What does {p}'s sister do?|What did {p}'s sister become?|As what does {p}'s sister work?|What is the work of {p}'s sister?"),
    _attribute("parents' city", "city", "has parents in {v}",
        "My parents live in {v}.|I visit my parents in {v}.|The house of my parents is in {v}.|My parents have a house in {v}.",
        "Where do {p}'s parents live?|Where does {p} visit the parents?|Where is the house of {p}'s parents?|In which city do {p}'s parents live?"),
    _attribute("office city", "city", "has an office in {v}",
        "My office is in {v}.|I commute to {v} for work.|I go to the office in {v}.|I commute to my office in {v}.",
        "Where is {p}'s office?|Where does {p} commute to?|Where does {p} go to the office?|In which city is {p}'s office?"),
    _attribute("wedding month", "month", "will marry in {v}",
        "I will marry in {v}.|Our wedding is in {v}.|We celebrate our wedding in {v}.|The month of our wedding is {v}.",
        "In which month will {p} marry?|When is {p}'s wedding?|What month is the wedding of {p}?|When will {p} celebrate the wedding?"),
    _attribute("winter dish", "food", "cooks {v} in winter",
        "In winter I cook {v}.|When it is cold I make {v}.|{v} is what I make in winter.|When it is cold I cook {v}.",
        "What does {p} cook in winter?|What does {p} make when it is cold?|Which dish does {p} make in winter?|Which winter dish does {p} cook?"),
)
# fmt: on

# Frames that fit every attribute; the last of each is unseen. The first question is the one that extraction writes.
SAY = (
    "My {noun} is {v}.",
    "By the way, my {noun} is {v}.",
    "You should know that my {noun} is {v}.",
    "I told you that my {noun} is {v}.",
    "If you want to know my {noun}: it is {v}.",
    "My {noun}? It is {v}.",
    "Talking about my {noun}, that is {v}.",
    "{v} is my {noun}, you know.",
    "Well, {v}, that is my {noun}.",
    "Did you know that my {noun} is {v}?",
    "As for my {noun}, it is {v}.",
)
UPDATE = (
    "My {noun} has changed: it is {v} now.",
    "News from me: my {noun} is {v} now.",
    "Forget what I said, my {noun} is {v} now.",
    "My {noun} is {v} now.",
    "I have a new {noun}: {v}.",
    "My {noun} is not what it was, now it is {v}.",
    "My new {noun} is {v}, it has changed.",
    "From now on my {noun} is {v}.",
    "News: my {noun} has changed, it is {v} now.",
)
ASK = (
    "What is {p}'s {noun}?",
    "Tell me {p}'s {noun}.",
    "Do you remember {p}'s {noun}?",
    "What did {p} say about the {noun}?",
    "Which is {p}'s {noun}?",
    "Do you know {p}'s {noun}?",
    "Can you tell me the {noun} of {p}?",
    "I forgot {p}'s {noun}, what is it?",
    "What do you know about the {noun} of {p}?",
    "Do you remember the {noun} of {p}?",
)

EVENTS = tuple(
    tuple(event.split("/"))
    for event in words(
        "adopt a kitten/adopted a kitten, run a marathon/ran a marathon, paint the kitchen/painted the kitchen, "
        "sell the car/sold the car, visit the museum/visited the museum, join a choir/joined a choir, "
        "break an arm/broke an arm, lose the keys/lost the keys, plant a tree/planted a tree, "
        "win a prize/won a prize, buy a tent/bought a tent, bake a cake/baked a cake, "
        "see a whale/saw a whale, start a diet/started a diet, write a poem/wrote a poem, "
        "meet the mayor/met the mayor, fix the roof/fixed the roof, climb a tower/climbed a tower, "
        "quit smoking/quit smoking, finish the course/finished the course, go to the circus/went to the circus, "
        "find a wallet/found a wallet, catch a cold/caught a cold, host a party/hosted a party, "
        "sign the contract/signed the contract, move the piano/moved the piano, take an exam/took an exam, "
        "repair the bike/repaired the bike, donate blood/donated blood, build a shed/built a shed"
    )
)
EVENT_SAY = (
    "I {past} {when}.",
    "Guess what, I {past} {when}.",
    "{When} I {past}.",
    "You know what, I {past} {when}.",
    "I must tell you that I {past} {when}.",
    "Do you know that I {past} {when}?",
    "Did I tell you that I {past} {when}?",
)
EVENT_ASK = (
    "When was it that {p} {past}?",
    "When did {p} {base}?",
    "Do you know when {p} {past}?",
    "On which date did {p} {base}?",
    "Tell me when {p} {past}.",
    "What was the date when {p} {past}?",
    "Can you remember when {p} {past}?",
    "Do you know on which date {p} {past}?",
)
WHEN = ("today", "yesterday", "last week", "last month")

# thing, then two occasions for the question that has to be inferred
TRAITS = tuple(
    tuple(trait.split("/"))
    for trait in words(
        "loud music/a rock concert/a noisy club, cold weather/a ski holiday/a winter walk, "
        "deep water/a diving course/a swim in the lake, big crowds/a street festival/a packed stadium, "
        "heights/a climbing tour/a balloon ride, early mornings/a sunrise hike/a breakfast at six, "
        "spicy dishes/a chili contest/an extra hot curry, small children/a day at a nursery/a kids' birthday party, "
        "insects/a night in a jungle tent/a visit to a bee farm, long drives/a road trip/a tour by car, "
        "scary stories/a horror film/a ghost tour, the sun/a day on the beach/a desert trip"
    )
)
LOVES = (
    "I love {thing}.",
    "I really enjoy {thing}.",
    "I am so happy with {thing}.",
    "I am a fan of {thing}.",
    "I am really happy with {thing}.",
)
HATES = (
    "I can't stand {thing}.",
    "I really dislike {thing}.",
    "I am not happy with {thing}.",
    "I am no fan of {thing}.",
    "I am really not happy with {thing}.",
)
TRAIT_ASK = ("What does {p} think of {thing}?", "What did {p} say about {thing}?")
OPEN_ASK = (
    "Would {p} enjoy {occasion}?",
    "Would {occasion} be right for {p}?",
    "Is {occasion} something for {p}?",
    "Would {p} say yes to {occasion}?",
    "Would {p} like {occasion}?",
)

# More frames, for training alone: with few of them a model knows sentences by heart instead of reading.
TRAIN_SAY = (
    "For my {noun} I have {v}.",
    "What about my {noun}? That is {v}.",
    "As you know, {v} is my {noun}.",
    "It is {v} that I call my {noun}.",
    "{v}, yes, my {noun} is {v}.",
    "{v} it is, my {noun}.",
    "Everybody knows that {v} is my {noun}.",
    "Of my {noun} you know: it is {v}.",
    "So my {noun}, it is {v}.",
    "In case you forgot, {v} is my {noun}.",
    "They all ask for my {noun}, and it is {v}.",
    "Remember {v}? That is my {noun}.",
    "About my {noun}: always {v}.",
    "Nobody believes me, but {v} is my {noun}.",
    "There is {v}, my {noun}.",
    "Can you believe that my {noun} is {v}?",
    "Here is what I call my {noun}: {v}.",
    "Since you ask for my {noun}, it is {v}.",
    "{v}. That is my {noun}.",
    "Did you hear of my {noun}, {v}?",
)
TRAIN_UPDATE = (
    "{v} is my new {noun}.",
    "Now {v} is my {noun}, it has changed.",
    "Did I say what my {noun} is now? It is {v}.",
    "So, a new {noun} for me: {v}.",
    "Since last week {v} is my {noun}.",
    "About my {noun}: from now on it is {v}.",
    "Things change, my {noun} is {v} now.",
    "It has changed, my {noun}, it is {v} now.",
    "Listen, from today my {noun} is {v}.",
    "What was my {noun} is no more, now it is {v}.",
)
TRAIN_EVENT_SAY = (
    "Was it not great that I {past} {when}?",
    "It is true, {when} I {past}.",
    "Can you believe that {when} I {past}?",
    "Have you heard that I {past} {when}?",
    "News from me: I {past} {when}.",
    "What did I do {when}? I {past}.",
    "{When}, you know, I {past}.",
    "Did you hear what I did {when}? I {past}.",
    "Remember that I {past} {when}.",
    "So I {past}, that was {when}.",
    "They all know that I {past} {when}.",
    "As I said, {when} I {past}.",
)

# The unseen wordings.
HELD_OUT = frozenset(
    wordings[-1].lower()
    for wordings in (
        *(wordings for attribute in ATTRIBUTES for wordings in (attribute.says, attribute.asks)),
        *(SAY, UPDATE, ASK, EVENT_SAY, EVENT_ASK, LOVES, HATES, OPEN_ASK),
    )
)

FILLERS = (
    "That sounds great!", "Oh really? Tell me more.", "I did not know that.", "How nice to hear.", "Good for you!",
    "What a day it was.", "The weather is lovely, isn't it?", "I have to run soon.", "We should meet again.",
    "Haha, that made me laugh.", "I am a bit tired today.", "Thank you for telling me.", "Let me think about that.",
    "That is just like you.", "You always surprise me.", "Sorry, I was on the phone.", "Let's have lunch some time.",
    "Did you sleep well?", "I heard it will rain.", "How is everybody at home?", "No way!", "Interesting, go on.",
    "I will tell the others.", "Nothing new here, just the usual.", "Time flies, doesn't it?", "I missed our talks.",
    "Well, who would have thought.", "I was in town and saw nothing special.", "Glad we could talk.", "Lovely.",
    "What a coincidence!", "It was a long week for me.", "You are full of stories.", "Hold on, someone is at the door.",
    "Let us not talk about politics.", "My coffee is getting cold.", "That reminds me of summer.", "Take care of yourself!",
)  # fmt: skip
GREETINGS = (
    "Hi {other}!",
    "Hello {other}, how are you?",
    "Good to see you, {other}.",
    "Hey {other}, long time no see!",
)

# All words that a model may be taught as words, those of events one by one.
WORDS = sorted(
    {word for pool in (NAMES, *POOLS.values()) for word in pool}
    | {word for event in EVENTS for form in event for word in form.split() if len(word) > 3}
)
MISFITS = {name: [word for word in WORDS if word not in pool] for name, pool in POOLS.items()}
