"""Ordinary English words that lie within a typing error of a word of the vocabulary.

Without them "curtain" would be taken for "certain" and "table" for "able". They are the frequent
words of a language model's dictionary that ``spelling.mend`` would change, and a hundred rarer ones
that stand in the patterns of ``unimer/templates/queries`` and in questions of ours.
"""

from __future__ import annotations

NEIGHBOURS = frozenset(
    """
    abnormal abode abort abound abroad absolute abuse abused abuses abusing accorded according
    accounted accounting accounts accusing aches achieved achieves achieving acorns acres actin
    activate activated activates activating actively activism activist activists activities
    acute adapting added adding adhering adjusted adjusting adopting aeration affective
    afflicted ageing aggregate aggregated aggregates agree agreed agreeing agrees aided aiding
    aiming alarming alias aligning alive allied allies allocation allotted alter altered
    altering alternate alternating alters altogether always ambulance analogies analy analys
    analyst analysts analytic analytics analyzer angel angels ankle ankles annot announce
    announced announces announcing anode anth antiv appeared appearing applying appointed
    approved approving aptitude aquifers archae archived archives arcs arena arisen arises
    arising armed arous arrested arrivals arrows artefacts arter arteries ascending ascent
    ascertain ascribed ashes aspart aspiring assigned assigning assuming assuring aster atopic
    attacked attacking attained attaining attended attending attested auction auctions auditing
    augmented averaged averages averaging aversion awaiting awake awakened awakening aware
    babies badge badges bake baked baking balls banded bands banished banking banks banned
    banning bargaining barking barley barred barriers basic basics basil basin basins bathe
    bathing baths batting battling beaches beads beans beast beasts beating beats became
    becoming bedding beets begging behavi belief beliefs believer believers bells belonged
    belonging belongings beloved belts bending besie besieged bestowed betrayal biased biases
    bidding bikes biking billing bills binding binge bioge bitter bittern black blacks blade
    blades blame blamed blaming blankets blasting bleaching bleed bleeding blending blessed
    blessing blessings blight blind blinded bloating blockers blocking blogging blooming blooms
    bloss blow blowing blows blue blues bluffing boarding boasting bobbing bombings bones booked
    booking booth border bordered bordering borders bother bothered bought bouncing bounded
    bounding bounds boxes boxing brack brains brainy branding brass breaches bread breads
    breakers breaking breaks breathed breather breathing breed breeding breeze brewed brewing
    brid bride briggs brighter brightest brightly bring bringing brings brink broadening broke
    brood broth brothers browse browsing bruising brushing bucks budding budgeting bugging
    builders bulbs bull bulls bullying bumps burge burned burning burrow burrows burs bursting
    burying buses bustling buying bytes cables cached caching caffe cages cakes calam calves
    camping camps campuses canine canoe canoes capability capped captains captions captives
    captivity carcasses carded cared cares caring carriers carrying carvings castes casting
    catching categor categories categorize categorized catering caters caused causes causing
    cautioned cautions caves cease ceased ceases ceded ceilings cemented centered centering
    certainly certified chant chanting chants charg charge charged charges charging charming
    chartered chase chased chasing chatting cheapest cheating cheeky cheese cheeses cheet chefs
    chess chickens chill chilled chilling chills chimes chis choir choosing chopping chose chuck
    circling clade claiming clam clams clans clarifying clash clashes classics classified clause
    clauses claws clean cleaned cleaners cleaning cleans cleansing cler clicking cliff cliffs
    clim climate climates climbers clinging clogged clone cloned clones cloning clos closet
    closure closures clothing clots clotting clover cloves clumps clustered clustering clusters
    clutter coaching coer cohes coincidence colle collected collecting collects colliding
    coloring combating combatting commander commanders commend commens comment commentary
    commented commenting comments commerc commerce committed committing communic compacted
    compan companies companion companions compass compassion compat compelled compelling
    competed competing compiled compiling complete completed completes completing complexes
    complying composed composing composite composites compr compre comprise comprised comprises
    comprising computed computes computing comrades conced concepts concession concessions
    conclusive concussed concussion concussions cones conference conferences conferencing
    conferred confidently confined confines confluence confusion congress connected connecting
    connects conned construct constructed constructing construction constructions constructs
    cont contact contacted contacting contacts contained containing contains contempl
    contemplate contemplated contemplating contempor contents contested contests contexts
    continent continents conting continue continued continues continuing contractor contractors
    contrary contrast contrasted contrasting contrasts convened conver converge convers converse
    converted converting converts conveyed conveying convicted convin coping cords cornea
    corrective correctly correlate correlated correlates corrupted costly coughing couldn coun
    counteract counters counties countries county coupling cour court courts coverage covert
    coveted coward cracking crafting cramping crane cranes crashing cravings crawling cream
    creams creat create created creates creating creative creators creature creatures creek
    creeks creeping crews cripp crises cropped cropping crops cross crossed crosses crossing
    crossings crowd crowded crowding crowds crown crowned crowns cruising crunch crushing
    cultivate cultivated cultivating cunning cure cured cures curing curious curly curr currents
    curs curse cursed curses curtain curtains curve curved curves cutting cuttings damaging
    danger dangers dare dared daring daunting daylight deadliest deadline deadlines dealt
    debating decade decades decaying deceased deciding decision decisions declares declaring
    declined declines declining decoding decrease decreased decreases decreasing dedicate
    dedicated deeds deemed deepened deepening defeated defeating defect defects defences
    defenses deferred defiance defic definite definitive deformed delaying dele delect delegate
    delegated delegates deleting delicate deline delusions demented denoting dentures departed
    depended dependent depending depicted depicting deport deported deposited deposits depress
    depressed depression depressions depressive deriving descent descript descriptive descriptor
    deserted designed designing destined destruction detached detailed detailing detained detect
    detected detecting detection detects devising devotion devotional dialysis dictated dictates
    dictator dictators dieting diets differently difficulties difficulty digested digestion
    digging dilation dining dinner diode diodes dipl dipped dipping directed directing
    directional directive directives director directors disabled disabling discussed discusses
    discussing diseased diseases disgrace disguise disguised displ display displayed displaying
    displays disputed disputes disrupted disrupting disrupts dissection distant distilled
    distinctive distinctly distingu distorted distract distracted distracting distributors
    district districts distrust diversion diverted dives divide divided divides dividing diving
    divisible division divisions doesn dolls domes dominance dominate dominated dominates
    dominating dominoes donating donation donations doses dosing dotted doub double doubled
    doubles doubling downt drafting dragged dragging drain drained draining drains drawings
    dream dreamed dreaming dreams dred dredging drifting drilling drinkers drone drones drought
    droughts drove drown drowned drowning duality during dusted dwelling dwellings dyeing dying
    earl earned earning earnings earrings ease easing eaters eating eats eclips eclipses
    editions education effect effected effects eighteen ejected elast elevator elevators
    elimination elite elites embarked embarking embedded embedding embeddings emitting
    emotionally emulsion enabling enchanting encir enclosed encoding endos enduring engage
    engaged engages engaging engraved engraving engravings engrossed enhanced enhances enhancing
    enjoying enlarged enrolled enrolling ensure ensured ensures ensuring enter entered entering
    enters entertain entertained entertaining entice enticing entit entities entitled entries
    entrusted equality equate equates equipped equipping erection errors escaping estate estates
    etched etching ether everyone evident evolution evolving exaggerated examined examines
    examining exceeded exceeding excesses exchange exchanged exchanges exchanging exclaimed
    excreted exempl existing expected expecting expelled expended expenses explan exploded
    exploding exploited exploiting exploits exploration explorations exported exporting exposing
    expressive expulsion extant extend extended extending extends extension extensions exting
    extremes faction factions failed failing fails faked faking false famed fant farmed farming
    farms fastened father fathers favoring feas feast feasts feathered feathers feats feces
    feeble feeding feeds fees feigning fellow fellows fermented fever fevers fibbing fiddle
    fight fighters fighting fights fillings finger fingers fired fires firing firms fitted
    fitting fittings fixed fixes fixing fixtures flags flair flakes flame flames flaming flamm
    flaps flask flats flattened flattered flavored flawed flaws flee fleeing fles flesh flies
    flight flights flint flirting flitted floating flood flooded flooding floods flossing flour
    flowed flower flowering flowers flowing flown fluor fluores flush flushed flushing fname
    folklore follower followers fonts fooled football footh foraging force forced forces forcing
    foreshad forested forge forged forging forks formal formatted formatting fortified forts
    forwarded forwarding forwards fostered fostering founders foxes fracking fraction fractional
    fractions fracture fractured fractures fracturing freeing freel freight fridge frogs
    fruiting frying fueled fueling fuels fuller fumes funded funding funds furnished furnishings
    furry fused fuses gain gained gaining gains gambling gard gardening garnered gases gasses
    gather gathered gathering gatherings gathers gazing geese gendered genes gentle gestures
    gifted gifts gills ging ginger giraffes glancing gland glands glare glaring glass glasses
    glaze glazing glide gliding glomer gloss glowing glue google goose governed governing grade
    graded grades grading graduate graduated graduates graduating grafting gran granting
    granules grape grapes graphing grapp grasping grass grasses grat grate grease greatness
    greed greet greeted greeting greetings grids grie grill grilled grilling grind grinding
    gripping grips grizz groin groom grooming grouping groupings grouse groves grower growers
    guerr guest guests guise gummed gums gunned hacked hacking hadn hailed hall halls halted
    halves hamming hampered handle handled handlers handles handling handy hanged hanging hangs
    harassed harden hardened hardening hardiness hardness hardware hardy hare harmed harming
    harms harnessed harnessing hars harvest harvested harvesting harvests hatching haunting
    healed healing heals heaps heavenly hedging heighten heightened hell herds herpes hesitate
    hesitated hides hiding hills hindered hindering hinges hired hiring hither hitting hives
    hoard hoarding hoarse hole holes hollow honing honoring hooded hooked hormones horrible
    horrific hoses hovering humming humorous ideals ignoring imagined imagining imitating
    imitation implying imported importing impossible impressed impression impressions impressive
    improved improves improving impulses impulsive inaccurate inactive inactivity incense
    included includes including inclusion inclusions incoming incorrect increase increased
    increases increasing incurred indexing indication indications indicative indicator
    indicators indict indifference infected infecting infer inference inferences inferred
    informal ingenuity ingested ingesting ingrained inher initialize initialized initials
    injected injecting inscribed inscription inscriptions inserted inserting insignificant
    insisted insisting inspired inspires inspiring installed installing instance instances
    instinct instincts instructional instructive instructor instructors insure insured integrity
    intend intended intending intends intens intensely intensified intensify intensities
    intensive intent inter internet interpre interpreter interpreters interpretive intimate
    intox intricate intro intros invading invented inventing inver inversion inverted invitation
    invitations inviting invoking irises irrational irrigated irrigation irritable irritants
    isotopes jelly jogging joints judged judges judging justices justified kidding kidn kids
    killed killing killings kills kings kins kitten kittens knife knives knocking knots known
    lacked lacking lactation ladder lakes landed landing landings lanes lanterns laser lasers
    lashes latent latex latter launched launches launching layer layered layering layers laying
    leaching leaked leaking leaks leaned leaning leaps learners learning lease leased leases
    leasing leave leaves leaving lectures leeds legion lending lends lengthen lengthy lenses
    leveling liability lightly lightning limiting liner lingering linked linking links lions
    lipid lipids listened listening liter literal literally liters litigation litres lived
    livelihood livelihoods lively lives living loaded loading loads lobbying lobes locating
    locked locking locks lodge lodged lodging logged logging loner longer looming looms loops
    loos loose lotus lover lovers lumber lungs macro macros madness magazine magazines mailing
    maize males malle malls managers managing mandated mandates manoe manor manually mapped
    mapping marched marches marching marin marine marketed marketing marrow marry marrying
    masked masking masks masses mastered mastering matching material materials maternal maturing
    maximise maximize maximizing meals meant meats media median mediated medical medically
    medieval meeting meetings melan melted melting memes mentally mentioned mentioning mentions
    mentoring mercy metering microb microbe microbes microf microm micron microns microw
    migraine migraines migrated migrating minced miner minerals miners minimally minimax
    minimise minimize minimized minimizes minimizing mint minted minus misgivings misplaced
    missiles mistakenly mites mixed mixes mixing mixtures moist molasses molded molding molds
    moles momentarily momentous momentum monet monetary monkey monkeys mono monst monty monument
    monuments moody moose morning mornings moth mother mothers moths mounds mounted mounting
    mounts mourning mowing mucus mulch mumbling murdered muscul mutation mutations nailed
    narrated narrower narrowly national nationals naturally naughty nausea naval nearly neckl
    negativity neither nested nesting nests nets netting neural neutralize neutralizing neutrons
    nexus niche niches nicked nitrates nominated normalize normalized normally north notation
    notch noticing notion notions nouns numbness numer nurses nursing objected obsessed
    obstruction obstructions occurred occurring offences offended offending offenses offering
    offerings offspring older onward onwards operated operates operating opposing oppressed
    oppression opted opting optional orbiting ordained otherwise otters ounce ounces outage
    outages outbre outdated outgoing outlawed outliers outlined outlines outlining outsider
    outsiders outwe ovens overcame overcome overcoming overd overdose overeating overh overhe
    overl overlapping overlaps overse overseeing oversees overt overw paced pacing packed
    packing packs padded padding paint painted painting paintings paints paired pairs palace
    palaces panc pancakes pants paralysed paralysis paralyzed paras parenting paris parishes
    parked parking parks pars parse parsed parsing parties partnered partnering partners party
    passive paste pastures patented pause paused pauses paved pavement paves paving paying peace
    peaches pears peas peasant peasants peeled peeling peers pending penned pension pensions
    perce perceive perceived perceives perceiving percentile perfected perfecting perished perks
    perme permeate permitted permitting perse pertain pertaining pertains phishing phrase
    phrases phrasing pickle pickled pickles piercing piercings piled piles pills pimple pines
    pint pints pipes piping pirate pirates plain plains plank planks plant planted planters
    planting plantings plants plas plate plates plating plaus plea pleas plight plotted plotting
    plucking plumbing poaching poets pointers poised policing politics polluted polluting
    pondered pondering pont popped popping pores portability portable portions ports posed poses
    posing position positioned positioning positions positivity possibilities possibly postures
    pots potting pounding pounds poured pouring powdered power powered powering powers praise
    praised praises praising preached preaching preced precepts predicted predicting predicts
    premises pres presc prescribe prescribed prescribing prescription prescriptions presented
    presenting presents presided pressure pressured pressures prest presumed prevented
    preventing prevents prick primates probabilistic probably probe probes probing proced
    processed processes processing processor processors prof professor professors profound
    promoted promotes promoting prone pronoun pronouns propelled propelling proposed proposes
    proposing props propulsion pros prose prote provided provides providing provoked provoking
    pudding pulled pulling pulls pulse pulsed pulses puncture punished punishing punitive purge
    purified purported purposes pursu pursue pursued pursuing qualified qualifies qualify
    qualifying qualities quantity qubits questionna quilt quint quirks quizzes quote quoted
    quotes quoting raced races racial racing racking raids rails rally rambling ranchers range
    ranged rangers ranges ranging ranked ranking rankings raped rarely rater reach reached
    reaches reaching reaction reactions reactive reactivity reactors readability ready realised
    realized realizes realizing reapp reared rearing rearr reass reassure reassured reassuring
    rebel rebell rebels recal recall recalled recalling recalls receiver receivers recession
    recip recipe recipes reciting reckless recorder recounted recounts recourse recovery rect
    recurring redefine redistribution redress reeds referees referred referring refine refined
    refining reflexes reformed reforming refreshed refreshing refusing regain regained regarded
    regarding regimens regional regression regulate regulated regulates regulating rehearsed
    reject rejected rejecting rejects relat relatable relate related relates relating relation
    relational relations relatively relay relays rele released releases releasing relegated
    relevant reliably reliance relie relied relies relieve relieved relieves relieving religion
    religions relocation reminded reminding removing rendered rendering renowned rented renting
    rents reopened repaired repairing repeal repealed repeated repeating reper repet rephrase
    repl replaced replaces replacing replayed reply reporter reporters repressive reptiles rese
    reserved reserves reshaping reside resided residence residences resides residing residues
    resigned resistant resisted resisting resolved resolves resolving reson resort resorted
    resorting resorts respectful respondents restored restoring restructuring retain retained
    retaining retains retiring reusable revealed revealing revel revenues rever revered revers
    reversal reviewed reviewing revising revision revisions revol revolution revolutions revolve
    revolved revolves revolving rewarded rewarding riddle riddled riddles riders rides ridges
    riding ringing rinse rinsing riots ripen ripening ripped risked risking risks rites roasting
    robbed robes robot robots roles rolled rolling rolls roofing roofs rooft roost ropes
    rotating rotation rotational rotations rotting route routed router routers routes routing
    rowing rubbed rubbing rugged rumors rumour sacr sacred sailed sailing sails saints salaries
    sales sampling sanction sanctioned sanctions sands sardines satire saved saves saving
    savings scaff scalp scaly scams scanned scanning scans scape scarc scarce scarcity scary
    schooling sciences scope scorching score scored scores scoring scorp scra scraping scratched
    scratches scratching scre screaming screened screening screenings scrolling scrubbing sealed
    sealing seals seams searched searches searching season seasoned seasoning seasonings seasons
    seated seating seats secondly secreted sections sects securing sediment sediments seeded
    seeding seedling seedlings seeds seeking seeks seize seized seizing selected selecting
    selling sells semen sending sentient sentimental seren serene servings sessions settling
    seven sevent sewing sexes sexually shack shade shaded shades shading shady shaft shafts
    shale shall shame shamp shape shaped shapes shaping shark sharks sharpest shave shaved
    shedding sheer shif shingles shipping shirt shirts shone shook shoot shooting shootings
    shoots shopping shops shore shoreline shores shortage shortages shortened shortening shorth
    shortlist shot shots shoulder shoulders shouldn shout shouted shouting shouts showc shown
    shred shredded shrew shrinking shrouded shuff shunt siblings sickness sidewalk sidewalks
    sighed sight sighted sighting sightings sights signaled signaling signalling significance
    silenced silencing simpler singer singers sinners sinus sipping situated skate skates
    skating sketches sketching skill skilled skills skipping slate sleeping slide slides sliding
    slope slopes sloping slots slower slums slurry smart smell smelling smells smoothing
    snacking snail snails snake snakes sneak sneeze sneezing sniff sniffed snipp soaked soaking
    soaps soared soaring sock socks soften softened soils soldering soles solution solutions
    sometime sometimes soothing souls sourcing southward sovere sowing space spaced spaces
    spacing spain spare spared sparing sparking sparkling spars sparsely spawn spawned spawning
    speakers spear spears speck specs speeches speeding spending spice spices spies spill
    spilled spills spine spines spinning spins spite spitting splitting spok spoke spokes spons
    spont spoon spoons spores sport sporting sports spraying spreading spring springs sprinkle
    sprinkled sprinkler sprouted sprouting spurred spurs stack stacked stacking stacks staff
    staffing staining stair stairs stake stakes stalk stalks stall stalled stalls stance
    starches stark starl starters startups starve starved starving statue statues status
    statutes stead steadily steak stealing steaming steer steered steering stemming stepped
    stepping steps stere stewards stews stickers sticking stiff stinging stink stitches
    stitching stole stony stool stools stories storm storming storms stormy storyt stove stoves
    stra strained straining strand stranded strands strang strange strangely stranger strangers
    strat stray stre streng strengthen strengthened strengthening strengthens stressed stresses
    stressing stressors stri stricter striking string stringent strings stripped stripping
    striving strongh structural strung stuck studying stuff stuffed stuffing stump stunt stunted
    submarine submarines submitted submitting subsidies subsidized subsidy subt subtitle
    subtitles subtly subtypes succ suffered suffering sufferings suggestive suicides suited
    summar summaries sunlight supporter supporters supportive supre surfing surge surges
    surpassed surpasses surve swapping swaying swearing swears sweating sweeping swelling
    swimming swinging swings swirling switch switched switches switching swords sworn synapses
    syncing table tabled tables tackling tagged tagging tailored tailoring tainted talented
    tales tangled tanks tanned tanning tapes tapped tapping targeted targeting tasked tasks
    tasted tastes tasting taught taxed taxes taxing teaches teaching teachings teamed teamm
    teams teasing teeming teens teething tempting tended tending tends tensions tents termites
    terraces terrains terrible terribly terrific tested testes testified testing texting
    textured textures thames theaters theatres thence theor theore theories thera therm thick
    thickened thickening thighs thinkers thorough thoughts threaded threading thrilling thrive
    thrived thrives thriving throwing thrust ticked ticking tides tighter tightness tile tiles
    till tinge tingling tints tired tires tissue tissues title titled titles toads toggle toile
    token tokens tones tonic tonnes tools torped tossed tossing touching touted towering towers
    toxic tracking traction trade traded trades trading traged trail trailed trailing trails
    trained trainees trainers training trainings trains trans trapped trapping traverse
    traversed traversing treacher treason treasure treasured treasures treatable treated
    treaties treating treats trem trenches trial trials triggered triggering triggers trill
    trimes trimmed trimming trip trips troops tropes tropics troubled troubles troubling trough
    truss trustee trustees trusty tucked tugged tumors tumour tumours tune tuned tunes tuning
    turbines tutoring twenties twinge twinkling twins twisting tying unable unaffected
    unanswered unatt unbalanced uncertainties uncertainty uncharted uncovered uncovering
    undefined unden undeniable undergoes undergoing underlie underlies underlying underm underp
    undert undes undet undue unexplained unfinished unfit unifying unint unity unlikely unmanned
    unquestion unreason unsett unstable unsteady unstructured unsus untapped unveiled unwilling
    unwitting upcoming updating upgraded upgrades upgrading upholding uprising uprisings
    urgently users usur util utils vacation vacations vaccines vaping varying vegans ventured
    ventures venturing venues verbs verge verified verifying vers versa verse verses verte
    vertices vesicles vested vibrating vines visiting vocation voltages waged wages wake wakes
    waking wall walled walls wandered wandering wards ware warmed warming warms wars warts
    washed washes washing wasps waste wasted wastes wasting watts wavering waves waving weaken
    weakened weakening weakens weakness weaknesses weaning wearable wearer weary weave weaving
    wedding weddings weekly weeping weighing weight weighted weights welded welding westward
    whale whales whaling wheat wheezing whence whiff whims whipped whirl whis whispered
    whispering whispers whitening whooping whopping wicked width widths wines winner winners
    winning wintering wiped wipes wiping wired wires wiring wiser wished wishes wishing witch
    witches witted wives woke wondered wondering wooded woods worms worrying worse wouldn wound
    wounded wounds wreak wrestling wrink wrongdoing wrote wrought yearly yearning yeasts yelling
    youths
    """.split()  # noqa: SIM905
)
