// Copies a container with the Go SDK, for benches/rivals.py: one reader per feed range, pages of 1,000
// documents, and one upsert per document, with 32 at once. The SDK has no bulk calls.
//
// Usage: copy SOURCE_ENDPOINT SOURCE_KEY TARGET_ENDPOINT TARGET_KEY DOCUMENTS PATH...
//
// Copies `shop/orders` to `shop/copies`, whose partition key has the given paths, and ends once so many
// documents were written.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

const atOnce = 32

type document = map[string]json.RawMessage

var background = context.Background()

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return value
}

func container(endpoint, key, name string) *azcosmos.ContainerClient {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 2 * atOnce
	options := azcosmos.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: &http.Client{Transport: transport}, Retry: policy.RetryOptions{MaxRetries: 9},
	}}
	credential := must(azcosmos.NewKeyCredential(key))
	client := must(azcosmos.NewClientWithKey(endpoint, credential, &options))
	return must(client.NewContainer("shop", name))
}

// keyOf returns the texts at the paths.
func keyOf(all document, paths []string) azcosmos.PartitionKey {
	key := azcosmos.NewPartitionKey()
	for _, path := range paths {
		names := strings.Split(path[1:], "/")
		at := all
		for _, name := range names[:len(names)-1] {
			inner := document{}
			must(0, json.Unmarshal(at[name], &inner))
			at = inner
		}
		text := ""
		must(0, json.Unmarshal(at[names[len(names)-1]], &text))
		key = key.AppendString(text)
	}
	return key
}

func main() {
	given := os.Args[1:]
	source, target := container(given[0], given[1], "orders"), container(given[2], given[3], "copies")
	count, paths := int64(must(strconv.Atoi(given[4]))), given[5:]
	var copied atomic.Int64
	ended := make(chan struct{})
	turns := make(chan struct{}, atOnce)
	write := func(change []byte) {
		all := document{}
		must(0, json.Unmarshal(change, &all))
		for _, name := range []string{"_rid", "_self", "_etag", "_attachments", "_ts", "_lsn"} {
			delete(all, name)
		}
		must(target.UpsertItem(background, keyOf(all, paths), must(json.Marshal(all)), nil))
		if copied.Add(1) == count {
			close(ended)
		}
	}
	read := func(feedRange azcosmos.FeedRange) {
		options := azcosmos.ChangeFeedOptions{FeedRange: &feedRange, MaxItemCount: 1000}
		for {
			response := must(source.ReadChangeFeed(background, &options))
			if response.ContinuationToken != "" {
				options.Continuation = &response.ContinuationToken
			}
			if len(response.Items) == 0 {
				time.Sleep(50 * time.Millisecond)
			}
			var page sync.WaitGroup
			for _, change := range response.Items {
				turns <- struct{}{}
				page.Go(func() {
					write(change)
					<-turns
				})
			}
			page.Wait()
		}
	}
	for _, feedRange := range must(source.ReadFeedRanges(background, nil)) {
		go read(feedRange)
	}
	<-ended
	fmt.Println(copied.Load(), "documents")
}
