package main

import (
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

func (s *scenario) ranges(container *azcosmos.ContainerClient) []azcosmos.FeedRange {
	return must(container.ReadFeedRanges(background, nil))
}

// A range that was split answers for one child at a time, so one idle answer is not the end.
const idleAnswers = 4

// page reads one page of the change feed; the options then go on after it.
func page(container *azcosmos.ContainerClient, size int32, o *azcosmos.ChangeFeedOptions) []object {
	o.MaxItemCount = size
	response := must(container.ReadChangeFeed(background, o))
	if response.ContinuationToken != "" {
		o.Continuation = &response.ContinuationToken
	}
	changes := []object{}
	for _, change := range response.Items {
		document := object{}
		check(decode(change, &document))
		changes = append(changes, document)
	}
	return changes
}

func (s *scenario) rest(container *azcosmos.ContainerClient, o azcosmos.ChangeFeedOptions) []object {
	changes := []object{}
	for idle := 0; idle < idleAnswers; {
		next := page(container, 7, &o)
		if len(next) == 0 {
			idle++
		} else {
			idle = 0
		}
		changes = append(changes, next...)
	}
	return changes
}

func byKey(changes []object, what func(object) any) object {
	keys := object{}
	for _, change := range changes {
		key := change["pk"].(string)
		of, _ := keys[key].([]any)
		keys[key] = append(of, what(change))
	}
	return keys
}

func (s *scenario) latest() any {
	ranges, all := s.ranges(s.items), []object{}
	for _, feedRange := range ranges {
		o := azcosmos.ChangeFeedOptions{FeedRange: &feedRange}
		first := page(s.items, 3, &o)
		if len(first) > 3 {
			panic("a page holds more than was asked for")
		}
		all = append(append(all, first...), s.rest(s.items, o)...)
	}
	keys := byKey(all, func(change object) any { return plain(encode(change)) })
	return object{"ranges": len(ranges), "keys": keys}
}

// The feed resumed on a range that was split after its place was taken.
func (s *scenario) split() any {
	before := s.ranges(s.flow)
	for _, document := range documents(s.given["flow_before"]) {
		must(s.flow.CreateItem(background, pk(document), encode(document), nil))
	}
	o := azcosmos.ChangeFeedOptions{FeedRange: &before[0]}
	first := page(s.flow, 7, &o)
	s.manage(s.given["flow_path"].(string)+"/split", object{"range": nil, "hold": false})
	for _, document := range documents(s.given["flow_after"]) {
		must(s.flow.UpsertItem(background, pk(document), encode(document), nil))
	}
	changes := append(first, s.rest(s.flow, o)...)
	return object{
		"first page": len(first),
		"latest":     byKey(changes, func(c object) any { return []any{c["id"], c["n"]} }),
	}
}
