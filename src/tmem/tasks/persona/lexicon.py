"""The words of the persona world: people, values and wordings, each cut into a seen and an unseen part.

A model is pretrained on the seen part only (and on invented words); the unseen part is for tests. Every
list is in a fixed order: its last quarter is unseen. Wordings are marked by hand: the last of each is unseen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NO_INFORMATION = "No information available"


def words(text: str) -> tuple[str, ...]:
    """A comma-separated list."""
    return tuple(word.strip() for word in text.split(","))


def seen(items: Sequence[str]) -> Sequence[str]:
    """The first three quarters of a list: what pretraining may use."""
    return items[: len(items) * 3 // 4]


def unseen(items: Sequence[str]) -> Sequence[str]:
    """The last quarter of a list: what no pretraining text contains."""
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
        "I live in {v}.|My flat is in {v}.|I have my home in {v}.", "Where does {p} live?|In which city is {p}'s home?|Which city does {p} live in?"),
    _attribute("birthplace", "city", "was born in {v}",
        "I was born in {v}.|I grew up in {v}.|{v} is where I was born.", "Where was {p} born?|In which city was {p} born?|What city did {p} grow up in?"),
    _attribute("dream destination", "country", "dreams of a trip to {v}",
        "I dream of a trip to {v}.|One day I want to see {v}.|I would love to travel to {v}.", "Where does {p} dream of going?|Which country does {p} want to see?|What place would {p} love to travel to?"),
    _attribute("job", "job", "works as a {v}",
        "I work as a {v}.|I earn my living as a {v}.|At work I am a {v}.", "What does {p} do for a living?|What does {p} work as?|Which profession does {p} have?"),
    _attribute("former job", "job", "used to be a {v}",
        "I used to be a {v}.|Years ago I was a {v}.|Before, I worked as a {v}.", "What did {p} use to be?|What was {p} years ago?|As what did {p} work before?"),
    _attribute("pet", "animal", "has a {v} at home",
        "I have a {v} at home.|We keep a {v}.|There is a {v} living with me.", "What animal does {p} have?|Which animal does {p} keep?|What kind of pet lives with {p}?"),
    _attribute("pet's name", "pet", "has a pet called {v}",
        "My pet is called {v}.|I named my pet {v}.|{v} is what I call my pet.", "What is {p}'s pet called?|What did {p} name the pet?|How does {p} call the pet?"),
    _attribute("favourite food", "food", "loves to eat {v}",
        "I love to eat {v}.|Nothing tastes better to me than {v}.|I could eat {v} every day.", "What does {p} love to eat?|Which food does {p} like best?|What dish could {p} eat every day?"),
    _attribute("favourite dessert", "sweet", "always wants {v} for dessert",
        "For dessert I always want {v}.|I never say no to {v}.|{v} is the dessert for me.", "What does {p} want for dessert?|Which dessert does {p} like best?|What sweet thing does {p} never refuse?"),
    _attribute("hobby", "hobby", "spends the weekends on {v}",
        "I spend my weekends on {v}.|In my free time I do {v}.|I am really into {v}.", "What does {p} do in free time?|How does {p} spend the weekends?|What is {p} really into?"),
    _attribute("favourite colour", "colour", "likes the colour {v} best",
        "I like the colour {v} best.|Everything I own is {v}.|{v} is the colour I love.", "Which colour does {p} like best?|What colour does {p} love?|What colour is {p} fond of?"),
    _attribute("instrument", "instrument", "plays the {v}",
        "I play the {v}.|I practise the {v} every evening.|I am learning the {v}.", "Which instrument does {p} play?|What does {p} practise every evening?|What instrument is {p} learning?"),
    _attribute("favourite book", "book", "has read {v} many times",
        "I have read {v} many times.|The book I love most is {v}.|I keep coming back to {v}, what a book.", "Which book does {p} love most?|What has {p} read many times?|Which book does {p} keep coming back to?"),
    _attribute("sport", "sport", "trains in {v}",
        "I train in {v} twice a week.|I do {v} to stay fit.|My sport club is for {v}.", "Which sport does {p} do?|What does {p} do to stay fit?|What sport does {p} train in?"),
    _attribute("favourite drink", "drink", "drinks {v} every morning",
        "I drink {v} every morning.|I always order {v}.|A glass of {v} makes my day.", "What does {p} drink every morning?|Which drink does {p} always order?|What does {p} like to drink?"),
    _attribute("language course", "language", "is learning {v}",
        "I am learning {v}.|I take lessons in {v}.|I study {v} in the evenings.", "Which language is {p} learning?|In what language does {p} take lessons?|What language does {p} study?"),
    _attribute("birthday month", "month", "has a birthday in {v}",
        "I was born in the month of {v}.|We celebrate my birthday in {v}.|I turn a year older in {v}.", "In which month is {p}'s birthday?|When is {p}'s birthday?|What month was {p} born in?"),
    _attribute("favourite flower", "flower", "grows {v} on the balcony",
        "I grow {v} on my balcony.|I buy {v} every Friday.|The flowers I love are {v}.", "Which flowers does {p} grow?|What flowers does {p} buy?|Which flowers does {p} love?"),
    _attribute("vehicle", "vehicle", "gets around by {v}",
        "I get around by {v}.|I go to work by {v}.|I bought myself a {v}.", "How does {p} get around?|How does {p} go to work?|What kind of vehicle did {p} buy?"),
    _attribute("favourite subject", "subject", "was best at {v} in school",
        "In school I was best at {v}.|I liked {v} most in school.|{v} was my thing in school.", "What was {p} best at in school?|Which subject did {p} like most?|What school subject did {p} prefer?"),
    _attribute("allergy", "allergy", "is allergic to {v}",
        "I am allergic to {v}.|I have to stay away from {v}.|{v} makes me ill.", "What is {p} allergic to?|What must {p} stay away from?|What makes {p} ill?"),
    _attribute("favourite music", "genre", "listens to {v} all day",
        "I listen to {v} all day.|I only go to concerts with {v}.|{v} is the music I like.", "What music does {p} listen to?|Which music does {p} like?|What kind of concerts does {p} go to?"),
    _attribute("sister's name", "name", "has a sister called {v}",
        "My sister is called {v}.|I have a sister, {v}.|{v} is my sister.", "What is {p}'s sister called?|Who is {p}'s sister?|What name does {p}'s sister have?"),
    _attribute("brother's name", "name", "has a brother called {v}",
        "My brother is called {v}.|I have a brother, {v}.|{v} is my brother.", "What is {p}'s brother called?|Who is {p}'s brother?|What name does {p}'s brother have?"),
    _attribute("best friend", "name", "has {v} as best friend",
        "My best friend is called {v}.|I tell {v} everything.|{v} is the best friend I have.", "Who is {p}'s best friend?|Whom does {p} tell everything?|Which friend is closest to {p}?"),
    _attribute("boss", "name", "works for {v}",
        "I work for {v}.|My boss is called {v}.|{v} is my boss.", "Who is {p}'s boss?|For whom does {p} work?|What is the name of {p}'s boss?"),
    _attribute("neighbour", "name", "lives next to {v}",
        "I live next to {v}.|{v} moved in next door to me.|The person next door to me is {v}.", "Who is {p}'s neighbour?|Next to whom does {p} live?|Who lives next door to {p}?"),
    _attribute("sister's job", "job", "has a sister who is a {v}",
        "My sister works as a {v}.|My sister became a {v}.|My sister is a {v}.", "What does {p}'s sister do?|What did {p}'s sister become?|What is the work of {p}'s sister?"),
    _attribute("parents' city", "city", "has parents in {v}",
        "My parents live in {v}.|I visit my parents in {v}.|Mum and Dad have a house in {v}.", "Where do {p}'s parents live?|Where does {p} visit the parents?|In what city is the house of {p}'s parents?"),
    _attribute("office city", "city", "has an office in {v}",
        "My office is in {v}.|I commute to {v} for work.|The company has put me in {v}.", "Where is {p}'s office?|Where does {p} commute to?|In which city does {p} go to the office?"),
    _attribute("wedding month", "month", "will marry in {v}",
        "I will marry in {v}.|Our wedding is in {v}.|We say yes to each other in {v}.", "In which month will {p} marry?|When is {p}'s wedding?|What month is the wedding of {p}?"),
    _attribute("winter dish", "food", "cooks {v} in winter",
        "In winter I cook {v}.|When it is cold I make {v}.|{v} is what I cook in winter.", "What does {p} cook in winter?|What does {p} make when it is cold?|Which winter dish does {p} cook?"),
)
# fmt: on

# Frames that fit every attribute; the last of each is unseen. The first question is the one that extraction writes.
SAY = (
    "My {noun} is {v}.",
    "By the way, my {noun} is {v}.",
    "You should know that my {noun} is {v}.",
    "As for my {noun}, it is {v}.",
)
UPDATE = (
    "My {noun} has changed: it is {v} now.",
    "News from me: my {noun} is {v} now.",
    "Forget what I said, my {noun} is {v} now.",
    "Things changed, these days my {noun} is {v}.",
)
ASK = (
    "What is {p}'s {noun}?",
    "Tell me {p}'s {noun}.",
    "Do you remember {p}'s {noun}?",
    "What did {p} say about the {noun}?",
    "Can you name {p}'s {noun}?",
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
    "Did I tell you that I {past} {when}?",
)
EVENT_ASK = (
    "When did {p} {base}?",
    "Do you know when {p} {past}?",
    "On which date did {p} {base}?",
    "{p} {past}, but when?",
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
    "I am a big fan of {thing}.",
)
HATES = (
    "I can't stand {thing}.",
    "I really dislike {thing}.",
    "I am not happy with {thing}.",
    "I am no fan of {thing}.",
)
TRAIT_ASK = ("What does {p} think of {thing}?", "How does {p} feel about {thing}?")
OPEN_ASK = (
    "Would {p} enjoy {occasion}?",
    "Would {occasion} be right for {p}?",
    "Should {p} be invited to {occasion}?",
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
