"""Ordinary English words that lie within a typing error of a word of the vocabulary.

Without them "curtain" would be taken for "certain" and "table" for "able". They are the frequent
words of a language model's dictionary that ``spelling.mend`` would change.
"""

from __future__ import annotations

NEIGHBOURS = frozenset(
    """
    abnormal abound abroad absolute abuse abused abuses according accounted accounting accounts
    aches achieved achieving acres activate activated actively activism activist activists
    activities acute adapting added adding adhering adjusted adjusting adopting affective ageing
    agree agreed agrees aided aiming alarming alive allied allies allocation alter altered
    altering alternate alternating altogether always analy analys analyst analysts analytics angel
    angels annot announce announced anth antiv appeared appearing applying appointed approved
    archives arena arises arising armed arous arrested arrows arter arteries ascending ascertain
    aspiring assigned assigning assuming aster attacked attacking attained auction augmented
    averaged averages awaiting awake aware babies bake baked baking balls bands banking banks
    banned bargaining barley barriers basic basics basil basin basins bathing baths beaches beads
    beans beast beating beats became becoming bedding behavi belief beliefs believer believers
    bells belonged belonging beloved belts bending biased biases bikes bills binding binge bitter
    black blacks blade blades blame blamed blankets bleed bleeding blending blessed blessing blind
    blocking blooming bloss blow blowing blows blue blues boarding bones border borders bother
    bought bounds boxes brack brains brass breaches bread breaking breathing breed breeding
    brewing brid bride brighter brightly bring bringing brings broke broth brothers browse
    browsing brushing budding budgeting bulbs bull bullying burge burned burning buses bustling
    buying bytes cables caffe cakes calves camping camps capability captivity cared cares caring
    carriers carrying casting catching categor categories categorized catering caused causes
    causing caves cease ceased centered certainly certified charg charge charged charges charging
    charming chase cheating cheese choosing chose claiming classified clause clauses clean cleaned
    cleaning cleans cleansing cler clicking cliff cliffs clim climate climates clos closure
    clothing clots clustering clusters coaching cohes coincidence colle collected collecting
    collects coloring commander comment commentary commented comments commerc commerce committed
    committing communic compan companies companion companions compass compassion compat compelled
    compelling competing compiled complete completed completing complexes composed composing
    composite compr compre comprise comprised comprises comprising computed computing concepts
    concussion cones conference conferences confidently confined confusion congress connected
    connecting connects construct constructed constructing construction constructions constructs
    cont contact contacted contacting contacts contained containing contains contempl contempor
    contents contested contexts continent continents conting continue continued continues
    continuing contractor contractors contrary contrast contrasting contrasts conver convers
    converted converting converts conveyed conveying convicted convin coping cords correctly
    correlate correlated costly coughing coun counteract counties countries county coupling cour
    court courts coverage cracking crafting cream creat create created creates creating creative
    creators creature creatures creek crews cripp crises crops cross crossed crosses crossing
    crowd crowded crowds crown crowns crunch crushing cultivate cultivated cultivating cure cured
    curing curious curr currents curs curse curve curved curves cutting damaging danger dangers
    daring daunting daylight deadline deadlines dealt deciding decision decisions declined
    declines declining decrease decreased decreases decreasing dedicated deeds deemed deepening
    defenses defic definite definitive dele delegates delicate deline departed depended depending
    deport deposited deposits depressed depression depressive descent descript descriptive
    designed designing destined destruction detached detailed detailing detection devotion
    dictators diets differently difficulties difficulty digestion digging dining dinner dipl
    director directors disabled discussed discusses discussing displ display displayed displaying
    displays disputed disputes disrupted disrupting distant distinctive distinctly distingu
    distract distracted district districts dividing diving division divisions dominance dominate
    dominated donation donations doses doub double doubled doubling downt drafting drain drained
    drains drawings dream dreams drilling drone drones drought droughts drove during dwelling
    dying earl earned earning ease eating editions education effect effects eighteen elimination
    embarked embarking embedded embedding emotionally enabling enchanting enclosed encoding
    enduring engage engaged engages engaging enhanced enhances enhancing enjoying enlarged
    enrolled ensure ensured ensures ensuring enter entered entering enters entertain entertaining
    entit entities entitled entries equality equipped errors escaping estate estates everyone
    evident evolution evolving examined examines examining exceeded exceeding exchange exchanged
    exchanges exchanging exempl existing expected expecting expelled expenses explan exploded
    exploited exploiting exploration explorations exported exposing expressive extant extend
    extended extending extends exting extremes factions failed failing fails false fant farming
    farms father fathers feas feast feathers feces feeding feeds fees fellow fellows fermented
    fever fight fighters fighting fights fillings fired fires firing firms fitted fitting fixed
    fixing fixtures flags flame flames flask flawed flaws flee fles flesh flies flight flights
    floating flood flooded flooding floods flour flower flowering flowers flowing flown fluor
    fluores flush folklore followers fonts football foraging force forced forces forcing formal
    formatted formatting fortified fostered fostering founders foxes fracking fraction fractions
    fracture fractures freight fridge frogs fueled fueling fuels funded funding funds gain gained
    gaining gains gambling gardening gases gather gathered gathering genes gentle gestures gifted
    gifts gland glands glass glasses gloss glowing google governed governing grade graded grades
    grading graduate graduated graduates graduating gran granting grape grapes grapp grass grasses
    grat grate grease greatness greed greet greeted grids grie grind grinding grouping growers
    guest guests hall halls handle handled handles handling handy hanging hardness hardware hardy
    harms harnessing harvest harvested harvesting healing heavenly heightened hell herds herpes
    hesitate hiding hills hired hiring hitting hives hole holes hollow honing honoring hormones
    horrible humming ideals ignoring imagined imagining imported importing impossible impressed
    impression impressions improved improves improving impulses inaccurate inactive included
    includes including inclusion incoming incorrect increase increased increases increasing
    indicative indicator indicators infected infer inference informal ingenuity ingested inher
    initialize inscription inscriptions inserted insignificant insisted inspired inspires
    inspiring installed installing instance instances instinct instincts instructional instructor
    instructors integrity intend intended intens intensive intent inter internet interpre
    interpreter intimate intricate intros invading invented inver invitation inviting irrational
    irrigation isotopes joints judged judges judging justified kids killed killing kills kings
    kins knife knives knots known lacked lacking lakes landed landing lanes laser lasers latent
    latex latter launched launching layer layers laying leaks learners learning lease leave leaves
    leaving lectures lending lengthy lenses liability lightly lightning limiting lingering linked
    linking links lions listened listening liter literally litigation lived livelihood livelihoods
    lively lives living loaded loading loads locked locks logged logging loops loos loose lover
    lovers lumber lungs macro magazine magazines maize males managers managing mandated mandates
    manually mapped mapping marine marketed marketing marrow masks masses mastered mastering
    matching maximize maximizing meals meant meats melan melted melting mentally mentioned
    mentioning mentions mentoring microb microbes micron microw migraine migraines minerals miners
    minimally minimize minimizes minimizing mint minus missiles mites mixed mixes mixing mixtures
    moist molds momentum monetary monument monuments morning mother mothers mounted mounting
    mourning mucus mulch murdered muscul mutation mutations national naturally nausea naval nearly
    neither nested nesting nests nets neural neutrons niche normalize normalized normally north
    notation notion notions nouns numbness numer nurses nursing obstruction occurred occurring
    offering offspring older onwards operated operates operating opposing oppressed oppression
    optional orbiting otherwise ounces outbre outdated outlined outlines outlining outwe overhe
    overl overlapping overse overt overw packed packing packs padding paint painted painting
    paints palace panc pants paralysis paras parenting parking parks pars parse parsed parties
    partners party passive paste patented pause paved paving paying peace peas peasant peasants
    peers pending perce perceive perceived perme pertaining pertains phishing phrase phrases
    pickle piles pills pipes plain plains plank plant planted planting plants plate plates plaus
    plight plotting plumbing poets poised politics polluted pores portable portions ports posed
    poses position positioned positioning positions possibilities possibly pots pounds poured
    pouring power powered powers praise praised preaching preced predicted predicting predicts
    premises pres presc prescribe prescribed prescription presented presenting presents pressure
    pressures prest presumed prevented preventing prevents primates probably probe probes proced
    processed processes processing processor processors prof professor professors profound
    promoted promotes promoting prone pronouns proposed proposes proposing props propulsion pros
    prose prote provided provides providing pulled pulling pulls pulse pulses punished purposes
    pursu pursue pursued pursuing qualified qualify qualities quantity questionna quint quizzes
    quote quoted quotes races racial racing raids rally range ranged ranges ranging ranked ranking
    rarely reach reached reaches reaching reaction reactions reactive reactors ready realised
    realized realizing reapp rearr reass rebel rebell rebels recall recalled recalls receiver
    recession recip recipe recipes recovery rect recurring referred referring refine refined
    refining refreshing refusing regain regarded regarding regional regression regulate regulated
    regulates regulating rejected relat relatable relate related relates relating relation
    relational relations relay rele released releases releasing relevant reliably reliance relie
    relied relies relieve relieved religion religions reminded reminding removing rendered
    rendering repaired repairing repeated repeating reper repet repl replaced replaces replacing
    reply reporter reporters reptiles rese reserved reserves residence residing resigned resistant
    resisted resolved resolving reson resort restored restoring retain retained retaining retains
    reusable revealed revealing revel revenues rever revered revers reviewed reviewing revision
    revisions revol revolution rewarded rewarding riders rides ridges riding rinse riots risks
    rites robot robots roles rolled rolling rolls roofs rotating rotation route router routes
    routing rubbing rugged sacr sacred sailed sailing saints sales sampling sanction sanctions
    sands satire saved saves saving scaff scalp scanned scanning scans scarc scarce scarcity scary
    schooling sciences scope score scored scores scoring scra scratching scre screened screening
    sealed sealing seals searched searches searching season seasoned seasons seated seating seats
    sections securing sediment sediments seeds seeking seeks seize seized selling sells sending
    sessions settling seven sevent sewing sexes sexually shade shades shaft shale shall shame
    shape shaped shapes shaping shark sharks shedding sheer shif shingles shipping shirt shoot
    shooting shoots shopping shops shore shoreline shores shortage shortages shortened shot shots
    shoulder shoulders shout showc shown shred shrinking sight sights signaling significance
    simpler sinus situated skate sketches skill skilled skills sleeping slide slides sliding slope
    slopes slower smart smell smells snails snake snakes snipp socks soften soils solution
    solutions sometime sometimes soothing souls sovere space spaced spaces spacing spare spawn
    speakers spear spending spill spills spine spines spinning spite splitting spoke spokes spons
    spont spoon spores sport sporting sports spraying spreading spring staff stair stairs stake
    stakes stance stark statue statues status statutes stead steadily stealing steer steering
    stepped stepping steps stere sticking stiff stitches stool stove stra strand strands strang
    strange stranger strangers strat stray stre streng strengthen strengthened strengthening
    strengthens stressed stresses stressors stri striking string stringent strings stripped
    striving structural stuck studying stuff stuffed stunt submarine submitted submitting
    subsidies subt succ suffered suffering suited summar summaries sunlight supporters supportive
    supre surge surve sweating sweeping swelling swimming swings switch switched switches
    switching table tables tackling tagged tailored talented tales tanks tapping targeted
    targeting tasked tasks tastes taxes teaches teaching teams teens tended tends tensions
    terrible tested testing textures theor theore theories thera therm thick thinkers thorough
    thoughts threading thrilling thriving throwing thrust tides tile tiles till tired tires tissue
    tissues title titled titles toile token tokens tones tonnes tools touching towering towers
    toxic tracking traction trade traded trades trading traged trail trails trained training
    trains trans trapped trapping treacher treasure treasures treated treaties treating treats
    trem trial trials triggered triggering triggers trip trips troops troubled troubles tune tuned
    tunes tuning turbines tutoring twins unable uncertainties uncertainty uncovered uncovering
    undergoes undergoing underlying underm underp undert undes unint unity unlikely unreason
    unstable unwilling upcoming updating uprising users util utils vacation vaccines varying
    ventures venues verbs verified vers versa verse verses verte vertices vines visiting wages
    wake waking wall walls wandering ware warming wars washed washing waste wasted wastes wasting
    waves weaken weakened weakness weaknesses weaving wedding weekly weighing weight weighted
    weights welding westward whale whales wheat wicked width wines winner winners winning wiped
    wired wires wiring wished wishes witch wives wondered wondering woods worms worrying worse
    wound wounded wounds wrink wrote yearly youths
    """.split()  # noqa: SIM905
)
