package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/scheme"
)

var (
	groupVersion  = schema.GroupVersion{Group: "example.com", Version: "v1"}
	schemeBuilder = &scheme.Builder{GroupVersion: groupVersion}
)

func init() {
	schemeBuilder.Register(&Trio{}, &TrioList{})
}

// TrioSpec is what is wanted.
type TrioSpec struct {
	// Text is what the first two children hold.
	Text string `json:"text"`
}

// TrioStatus is what there is.
type TrioStatus struct {
	// Nodes is how many nodes count.
	Nodes *int64 `json:"nodes,omitempty"`
	// ObservedGeneration is the generation that the status is about.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions has one entry, Ready.
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Trio is a parent of three children.
type Trio struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   TrioSpec   `json:"spec"`
	Status TrioStatus `json:"status,omitempty"`
}

// TrioList is many of them.
type TrioList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Trio `json:"items"`
}

// What follows is what controller-gen writes.

// DeepCopyInto copies.
func (in *TrioStatus) DeepCopyInto(out *TrioStatus) {
	*out = *in
	if in.Nodes != nil {
		nodes := *in.Nodes
		out.Nodes = &nodes
	}
	if in.Conditions != nil {
		out.Conditions = make([]metav1.Condition, len(in.Conditions))
		for i := range in.Conditions {
			in.Conditions[i].DeepCopyInto(&out.Conditions[i])
		}
	}
}

// DeepCopy copies.
func (in *TrioStatus) DeepCopy() *TrioStatus {
	out := new(TrioStatus)
	in.DeepCopyInto(out)
	return out
}

// DeepCopyInto copies.
func (in *Trio) DeepCopyInto(out *Trio) {
	*out = *in
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	in.Status.DeepCopyInto(&out.Status)
}

// DeepCopyObject copies.
func (in *Trio) DeepCopyObject() runtime.Object {
	out := new(Trio)
	in.DeepCopyInto(out)
	return out
}

// DeepCopyObject copies.
func (in *TrioList) DeepCopyObject() runtime.Object {
	out := &TrioList{TypeMeta: in.TypeMeta}
	in.ListMeta.DeepCopyInto(&out.ListMeta)
	if in.Items != nil {
		out.Items = make([]Trio, len(in.Items))
		for i := range in.Items {
			in.Items[i].DeepCopyInto(&out.Items[i])
		}
	}
	return out
}
