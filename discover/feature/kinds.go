package feature

// Kinds lists every kind, in the order of the manual. It is read only.
var Kinds = []Kind{
	countKind,
	sumKind,
	maxKind,
	distinctKind,
	seenKind,
	setKind,
	ageKind,
	lastKind,
	baselineKind,
	cusumKind,
	habitKind,
	hoursKind,
	quantilesKind,
	rarityKind,
	travelKind,
	sequenceKind,
	runKind,
	rhythmKind,
	burstKind,
	entropyKind,
	likelihoodKind,
	coverageKind,
	topKind,
}
