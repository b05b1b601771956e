package exempt

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"net/netip"
)

const (
	// indexFrom is the number of IPv4 networks from which an index pays: below
	// it the trie stays in the processor's cache, and 6 MiB would be a waste.
	indexFrom = 1 << 12

	addressBits = 32 // of IPv4
	blockBits   = 24 // an index has one state for each /24
	stateBits   = 2
	statesAWord = 64 / stateBits
	wordsABlock = 1 << (addressBits - blockBits) / 64
)

// The states of a /24.
const (
	blockOutside uint64 = iota // no address of it is in the set
	blockInside                // every address is
	blockMixed                 // its bitmap tells
)

const (
	allInside = ^uint64(0) / (1<<stateBits - 1) * blockInside
	allMixed  = ^uint64(0) / (1<<stateBits - 1) * blockMixed
)

// index holds the state of every IPv4 /24 and a bitmap of each mixed one. A
// trie of 10^6 networks costs up to a dozen cache misses for one look-up, the
// index one, or three in a mixed block. It takes 6 MiB and 32 octets for each
// mixed block.
type index struct {
	states  []uint64
	before  []uint32 // mixed blocks before each word of states
	bitmaps [][wordsABlock]uint64
}

// newIndex goes through the networks twice. They have to be different: that
// bounds the work, as those of one length cover the address space once.
func newIndex(networks iter.Seq[netip.Prefix]) *index {
	const words = 1 << blockBits / statesAWord
	x := &index{states: make([]uint64, words), before: make([]uint32, words)}
	for prefix := range networks {
		first := number(prefix.Addr()) >> (addressBits - blockBits)
		if prefix.Bits() <= blockBits {
			x.fill(first, 1<<(blockBits-prefix.Bits()))
		} else if x.state(first) == blockOutside {
			x.set(first, blockMixed)
		}
	}
	mixed := uint32(0)
	for i, word := range x.states {
		x.before[i] = mixed
		mixed += uint32(bits.OnesCount64(word & allMixed)) //nolint:gosec // G115: at most 64
	}
	x.bitmaps = make([][wordsABlock]uint64, mixed)
	for prefix := range networks {
		address := number(prefix.Addr())
		block := address >> (addressBits - blockBits)
		if prefix.Bits() <= blockBits || x.state(block) != blockMixed {
			continue
		}
		bitmap := x.bitmap(block)
		for i := range uint32(1) << (addressBits - prefix.Bits()) {
			last := (address + i) & 0xff
			bitmap[last/64] |= 1 << (last % 64)
		}
	}
	return x
}

// contains reports whether an IPv4 address is in the set.
func (x *index) contains(ip netip.Addr) bool {
	address := number(ip)
	block := address >> (addressBits - blockBits)
	state := x.state(block)
	if state != blockMixed {
		return state == blockInside
	}
	last := address & 0xff
	return x.bitmap(block)[last/64]>>(last%64)&1 != 0
}

func (x *index) state(block uint32) uint64 {
	return x.states[block/statesAWord] >> (block % statesAWord * stateBits) & (1<<stateBits - 1)
}

func (x *index) set(block uint32, state uint64) {
	shift := block % statesAWord * stateBits
	word := &x.states[block/statesAWord]
	*word = *word&^((1<<stateBits-1)<<shift) | state<<shift
}

// fill marks count blocks as inside; a network of 32 blocks or more starts at
// a word and fills whole words.
func (x *index) fill(first, count uint32) {
	if count < statesAWord {
		for block := first; block < first+count; block++ {
			x.set(block, blockInside)
		}
		return
	}
	words := x.states[first/statesAWord:][:count/statesAWord]
	for i := range words {
		words[i] = allInside
	}
}

// bitmap returns the bitmap of a mixed block.
func (x *index) bitmap(block uint32) *[wordsABlock]uint64 {
	word := block / statesAWord
	lower := uint64(1)<<(block%statesAWord*stateBits) - 1
	inWord := bits.OnesCount64(x.states[word] & allMixed & lower)
	return &x.bitmaps[int(x.before[word])+inWord]
}

// number is an IPv4 address as a number.
func number(ip netip.Addr) uint32 {
	octets := ip.As4()
	return binary.BigEndian.Uint32(octets[:])
}
